from __future__ import annotations

from domain.ids import new_id
from gateway.events.announcements import announce
from gateway.events.kinds import KINDS
from gateway.events.subscriber import Subscriber, Wanted
from gateway.models.campaigns import CampaignState
from storage.change_position import Position
from storage.changes import Change, Changes
from storage.client import Document
from tests.gateway.campaigns import template
from tests.gateway.conftest import Api


def position(number: int) -> Position:
    return Position(b"\x82" + bytes(4) + number.to_bytes(4))


def changed(collection: str, document_id: str, number: int, **updated: object) -> Change:
    return Change(position(number), collection, document_id, None, updated)


def inserted(collection: str, document: Document, number: int) -> Change:
    return Change(position(number), collection, document["_id"], document, {})


def changes_of(api: Api) -> Changes:
    return Changes(api.database, [kind.watched for kind in KINDS.values()])


async def test_the_same_event_of_a_document_is_told_once_and_last(api: Api) -> None:
    first, second = await api.dialogue(), await api.dialogue()
    batch = [
        changed("conversations", first, 1),
        changed("conversations", first, 2, assignedToUserId=None),
        changed("conversations", second, 3),
        changed("conversations", first, 4),
        changed("conversations", first, 5, status="closed"),
        changed("conversations", first, 6, status="open"),
    ]
    told = await announce(changes_of(api), batch, {api.merchant_id}, as_they_were=True)
    assert [(each.event, each.position) for each in told] == [
        ("conversation.assigned", position(2)),
        ("conversation.updated", position(3)),
        ("conversation.closed", position(5)),
        ("conversation.updated", position(6)),
    ]


async def test_nothing_is_told_of_merchants_for_whom_nobody_listens(api: Api) -> None:
    conversation_id = await api.dialogue()
    message_id = await api.inbound(conversation_id, "hello")
    message = await api.database["messages"].find_one({"_id": message_id})
    assert message is not None
    batch = [inserted("messages", message, 1), changed("conversations", conversation_id, 2)]
    changes = changes_of(api)
    assert await announce(changes, batch, {new_id()}, as_they_were=True) == []
    assert await announce(changes, batch, set(), as_they_were=True) == []
    assert len(await announce(changes, batch, {new_id(), api.merchant_id}, as_they_were=True)) == 2


async def test_what_is_told_later_is_told_as_it_is_then(api: Api) -> None:
    conversation_id = await api.dialogue()
    message_id = await api.inbound(conversation_id, "hello")
    message = await api.database["messages"].find_one({"_id": message_id})
    assert message is not None
    was = {**message, "content": "what was edited"}
    gone = {**message, "_id": new_id()}
    batch = [inserted("messages", was, 1), inserted("messages", gone, 2)]
    (live, _) = await announce(changes_of(api), batch, {api.merchant_id}, as_they_were=True)
    (late,) = await announce(changes_of(api), batch, {api.merchant_id}, as_they_were=False)
    assert b"what was edited" in live.frame
    assert b'"hello"' in late.frame


async def test_an_event_is_one_line_of_data(api: Api) -> None:
    conversation_id = await api.dialogue()
    message_id = await api.inbound(conversation_id, "a\nb\r\nc\u2028d")
    changes = [changed("messages", message_id, 1, status="sent")]
    (told,) = await announce(changes_of(api), changes, {api.merchant_id}, as_they_were=True)
    lines = told.frame.splitlines()
    assert [line.partition(b": ")[0] for line in lines] == [b"id", b"event", b"data", b""]
    assert b"merchantId" not in told.frame


async def test_a_subscriber_takes_nothing_twice_and_overflows_at_its_bound(api: Api) -> None:
    conversation_id = await api.dialogue()
    batch = [changed("conversations", conversation_id, number, status="closed") for number in (1, 2)]
    told = [
        each
        for change in batch
        for each in await announce(changes_of(api), [change], {api.merchant_id}, as_they_were=True)
    ]
    overflows: list[bool] = []
    size = len(told[0].frame)
    subscriber = Subscriber(Wanted(api.merchant_id), position(0), size, lambda: overflows.append(True))
    subscriber.offer(told[0])
    subscriber.offer(told[0])
    assert not overflows
    assert await subscriber.take() == told[0].frame
    assert subscriber.take_now() == b""
    subscriber.offer(told[1])
    subscriber.reset(position(3))
    assert overflows
    assert subscriber.position == position(3)


def test_no_event_has_two_meanings() -> None:
    events = [event for kind in KINDS.values() for event in kind.events]
    assert len(events) == len(set(events))
    assert all(kind.collection == name for name, kind in KINDS.items())


async def test_where_a_campaign_is_can_be_told_from_its_document(api: Api) -> None:
    body = {"name": "Sale", "type": "promotional", "templateId": await template(api), "segmentIds": []}
    status, answer = await api.post("/campaigns", body)
    assert status == 200
    document = await api.database["campaigns"].find_one({"_id": answer["data"]["id"]})
    assert document is not None
    told = CampaignState.model_validate(document).model_dump(by_alias=True, mode="json")
    assert {name: told[name] for name in ("id", "status", "runs")} == {
        "id": answer["data"]["id"],
        "status": "draft",
        "runs": 0,
    }
    kind = KINDS["campaigns"]
    assert kind.events == ("campaign.created", "campaign.moved", "campaign.updated")
