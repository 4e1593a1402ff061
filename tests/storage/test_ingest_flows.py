"""From events to what executors take, on a real server."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pymongo.errors import PyMongoError

from domain.events import EventKind, Profile, XEvent
from domain.flow_triggers import ReEntry
from domain.partition import partition_of
from storage.client import Client, Database, Document
from storage.flow_documents import EXECUTOR
from storage.inbox import Inbox
from storage.ingest import Ingest
from tests.actors.desk import failing
from tests.storage.arrivals import START, arrive, connect, event, everything, ingest_of, message
from tests.storage.flow_scenes import LISTENS, active_flow, add_flow, deactivate, flow_events, started


@pytest.fixture
def inbox(client: Client, database: Database) -> Inbox:
    return Inbox(client, database)


@pytest.fixture
async def ingest(client: Client, database: Database) -> Ingest:
    await connect(database)
    return ingest_of(client, database)


def post(kind: EventKind, text: str, user: str = "200") -> XEvent:
    data: dict[str, object] = {"direction": "inbound", "postId": "1", "authorId": user, "text": text}
    return XEvent(f"post:{kind}:{text}:{user}", kind, "100", user, START, data, Profile())


async def execution(database: Database, flow: Any, contact_id: str, **fields: Any) -> None:
    document = {"merchantId": "m1", "accountId": "account-100", "contactId": contact_id, "flowId": flow["_id"]}
    await database["flowExecutions"].insert_one({"_id": f"x-{flow['_id']}-{contact_id}", **document, **fields})


async def contact_of(database: Database, user: str = "200") -> Document:
    found = await database["contacts"].find_one({"twitterUserId": user})
    assert found is not None
    return found


async def test_a_message_starts_the_flow_whose_keyword_it_says(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    flow = await active_flow(database, "message_received", config={"keywords": ["my order"]})
    await active_flow(database, "message_received", config={"keywords": ["refund"]})
    ingested = await ingest.apply(await arrive(inbox, database, message("Where is MY ORDER?"), message("Hello", 1)))
    (start,) = await flow_events(database)
    (first, _) = await everything(database, "messages")
    contact = await contact_of(database)
    assert start.pop("_id").startswith(
        f"{partition_of(EXECUTOR, contact['_id']):02x}|{contact['_id']}|start|{flow['_id']}|"
    )
    assert len(start.pop("executionId")) == 36
    assert start == {
        "merchantId": "m1",
        "accountId": "account-100",
        "contactId": contact["_id"],
        "kind": "start",
        "at": START,
        "flowId": flow["_id"],
        "version": 1,
        "depth": 0,
        "variables": {},
        "messageId": first["_id"],
    }
    assert ingested.flow_contacts == {contact["_id"]}
    assert ingested.flow_events == 1


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("new_follower", event(EventKind.FOLLOW)),
        ("new_contact", event(EventKind.LIKE)),
        ("new_contact", message()),
        ("mention", post(EventKind.MENTION, "@shop hello")),
        ("mention", post(EventKind.REPLY, "@shop hello")),
        ("mention", post(EventKind.QUOTE, "@shop hello")),
    ],
)
async def test_what_a_person_does_starts_the_flow_for_it(
    ingest: Ingest, inbox: Inbox, database: Database, kind: str, what: XEvent
) -> None:
    flow = await active_flow(database, kind)
    for other in {"new_follower", "mention", "tag_added", "manual"} - {kind}:
        await active_flow(database, other)
    await ingest.apply(await arrive(inbox, database, what))
    assert await started(database) == [flow["_id"]]


async def test_a_mention_starts_by_its_words(ingest: Ingest, inbox: Inbox, database: Database) -> None:
    flow = await active_flow(database, "mention", config={"keywords": ["hello"]})
    said, unsaid = post(EventKind.MENTION, "@shop hello"), post(EventKind.MENTION, "@shop goodbye")
    await ingest.apply(await arrive(inbox, database, unsaid, said))
    assert await started(database) == [flow["_id"]]


async def test_a_contact_is_new_once(ingest: Ingest, inbox: Inbox, database: Database) -> None:
    flow = await active_flow(database, "new_contact")
    await ingest.apply(await arrive(inbox, database, event(EventKind.LIKE), message(), message(minutes=1)))
    await ingest.apply(await arrive(inbox, database, message(minutes=2)))
    assert await started(database) == [flow["_id"]]


async def test_the_message_that_makes_a_contact_is_what_its_flow_begins_with(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await active_flow(database, "new_contact", nodes=LISTENS)
    await ingest.apply(await arrive(inbox, database, message()))
    (start,) = await flow_events(database)
    assert start["messageId"] == (await everything(database, "messages"))[0]["_id"]
    assert await flow_events(database, "reply") == []


async def test_echoes_start_nothing(ingest: Ingest, inbox: Inbox, database: Database) -> None:
    for kind in ("message_received", "new_contact"):
        await active_flow(database, kind, nodes=LISTENS)
    await ingest.apply(await arrive(inbox, database, message("Hello", outbound=True)))
    await ingest.apply(await arrive(inbox, database, message("Hello", outbound=True)))
    assert await everything(database, "flowEvents") == []
    follow = event(EventKind.FOLLOW, user="201")
    ours = XEvent(follow.key, follow.kind, "100", "201", follow.at, {"direction": "outbound"}, Profile())
    await active_flow(database, "new_follower")
    await ingest.apply(await arrive(inbox, database, ours))
    assert await everything(database, "flowEvents") == []


async def test_who_was_written_to_first_is_no_new_contact(ingest: Ingest, inbox: Inbox, database: Database) -> None:
    await active_flow(database, "new_contact")
    await ingest.apply(await arrive(inbox, database, message("Hello", outbound=True), message("Hi", 1)))
    assert await started(database) == []


async def test_a_stop_word_starts_nothing_but_what_a_new_contact_does(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    new = await active_flow(database, "new_contact")
    await active_flow(database, "message_received")
    await active_flow(database, "message_received", config={"keywords": ["stop"]})
    await ingest.apply(await arrive(inbox, database, message("STOP"), message("stop", 1)))
    assert await started(database) == [new["_id"]]


async def test_a_start_word_is_a_message_like_any_other(ingest: Ingest, inbox: Inbox, database: Database) -> None:
    flow = await active_flow(database, "message_received", config={"keywords": ["start"], "match": "exact"})
    await ingest.apply(await arrive(inbox, database, message("START")))
    assert await started(database) == [flow["_id"]]


async def test_a_flow_of_an_account_takes_only_that_account(ingest: Ingest, inbox: Inbox, database: Database) -> None:
    await connect(database, "101")
    flow = await active_flow(database, "message_received", accountId="account-101")
    await active_flow(database, "message_received", merchant="m2")
    await ingest.apply(await arrive(inbox, database, message(), message(shop="101")))
    (start,) = await flow_events(database)
    assert (start["flowId"], start["accountId"]) == (flow["_id"], "account-101")


async def test_an_answer_to_a_campaign_starts_its_flow_once(ingest: Ingest, inbox: Inbox, database: Database) -> None:
    flow = await active_flow(database, "campaign_replied", config={"campaignId": "c1"})
    any_campaign = await active_flow(database, "campaign_replied")
    await active_flow(database, "campaign_replied", config={"campaignId": "c2"})
    await ingest.apply(await arrive(inbox, database, message()))
    remembered = {
        "recipientId": "r1",
        "merchantId": "m1",
        "accountId": "account-100",
        "campaignId": "c1",
        "runId": "run",
        "variant": "only",
        "at": START,
        "until": START + timedelta(days=1),
    }
    await database["contacts"].update_one({}, {"$set": {"recentCampaigns": [remembered]}})
    await ingest.apply(await arrive(inbox, database, message("Yes", 1), message("Please", 2)))
    assert sorted(await started(database)) == sorted([flow["_id"], any_campaign["_id"]])


async def test_a_message_that_comes_again_starts_nothing_again(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await active_flow(database, "message_received")
    await active_flow(database, "new_follower")
    written, followed = message(), event(EventKind.FOLLOW)
    await ingest.apply(await arrive(inbox, database, written, written, followed))
    assert len(await started(database)) == 2
    # The executor has taken them since.
    await database["flowEvents"].delete_many({})
    await ingest.apply(await arrive(inbox, database, written, followed))
    assert await started(database) == []


@pytest.mark.parametrize("command", ["update", "commitTransaction"])
async def test_a_transaction_that_is_tried_again_starts_once(
    ingest: Ingest, inbox: Inbox, client: Client, database: Database, command: str
) -> None:
    await active_flow(database, "message_received")
    documents = await arrive(inbox, database, message())
    data = {"errorCode": 112, "errorLabels": ["TransientTransactionError"]}
    async with failing(client, [command], {"times": 2}, **data):
        await ingest.apply(documents)
    assert len(await started(database)) == 1
    assert await inbox.pending() == 0


async def test_a_batch_that_is_not_written_starts_nothing(
    ingest: Ingest, inbox: Inbox, client: Client, database: Database
) -> None:
    await active_flow(database, "message_received")
    documents = await arrive(inbox, database, message())
    async with failing(client, ["delete"], "alwaysOn", errorCode=11601):
        with pytest.raises(PyMongoError):
            await ingest.apply(documents)
    assert await started(database) == []
    await ingest.apply(documents)
    assert len(await started(database)) == 1


async def test_a_message_answers_an_execution_that_listens_and_may_start_another_flow(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    asks = await active_flow(database, "manual", nodes=LISTENS)
    order = await active_flow(database, "message_received", config={"keywords": ["order"]})
    await ingest.apply(await arrive(inbox, database, message(), message(user="201")))
    contact = await contact_of(database)
    await execution(database, asks, contact["_id"], status="running", listening=True)
    ingested = await ingest.apply(
        await arrive(inbox, database, message("My order", 1), message("My order", 1, user="201"), message("STOP", 2))
    )
    (reply,) = await flow_events(database, "reply")
    (written,) = await everything(database, "messages", contactId=contact["_id"], content="My order")
    assert reply.pop("_id").startswith(f"{partition_of(EXECUTOR, contact['_id']):02x}|{contact['_id']}|reply|")
    assert reply == {
        "merchantId": "m1",
        "accountId": "account-100",
        "contactId": contact["_id"],
        "kind": "reply",
        "at": START + timedelta(minutes=1),
        "messageId": written["_id"],
    }
    assert await started(database) == [order["_id"]] * 2
    assert ingested.flow_events == 3


async def test_an_execution_of_a_flow_that_is_deactivated_still_gets_its_reply(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    flow = await active_flow(database, "manual", nodes=LISTENS)
    await ingest.apply(await arrive(inbox, database, message()))
    await execution(database, flow, (await contact_of(database))["_id"], status="running", listening=True)
    await deactivate(database, flow)
    ingest._flows._read_at.clear()
    await ingest.apply(await arrive(inbox, database, message("Yes", 1)))
    assert len(await flow_events(database, "reply")) == 1


async def test_the_next_message_is_a_reply_although_the_execution_has_not_begun(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await active_flow(database, "message_received", config={"keywords": ["order"]}, nodes=LISTENS)
    await ingest.apply(await arrive(inbox, database, message("order"), message("12345", 1), message("please", 2)))
    await ingest.apply(await arrive(inbox, database, message("hello?", 3)))
    stored = {each["_id"]: each["content"] for each in await everything(database, "messages")}
    replies = [stored[each["messageId"]] for each in await flow_events(database, "reply")]
    assert replies == ["12345", "please", "hello?"]
    assert len(await started(database)) == 1


async def test_a_flow_that_does_not_listen_takes_no_replies(ingest: Ingest, inbox: Inbox, database: Database) -> None:
    await active_flow(database, "manual", nodes=LISTENS)
    await active_flow(database, "message_received", config={"keywords": ["order"]})
    await ingest.apply(await arrive(inbox, database, message("order")))
    await ingest.apply(await arrive(inbox, database, message("12345", 1)))
    assert await flow_events(database, "reply") == []


@pytest.mark.parametrize(
    ("rule", "status", "starts"),
    [
        ("always", "running", 1),
        ("once", "completed", 0),
        ("after_completed", "running", 0),
        ("after_completed", "completed", 1),
        ("after_completed", "failed", 1),
        ("after_completed", "cancelled", 1),
    ],
)
async def test_who_may_not_go_into_a_flow_again_leaves_the_message_to_others(
    ingest: Ingest, inbox: Inbox, database: Database, rule: str, status: str, starts: int
) -> None:
    flow = await active_flow(database, "message_received", reEntry=rule)
    first = message(user="201")
    documents = await arrive(inbox, database, message(), first)
    ingest._flows.of = lambda _: None  # type: ignore[method-assign]
    await ingest.apply(documents)
    del ingest._flows.of  # type: ignore[method-assign]
    await execution(database, flow, (await contact_of(database))["_id"], status=status)
    ingested = await ingest.apply(await arrive(inbox, database, message("again", 1)))
    assert (len(await started(database)), ingested.flow_events) == (starts, starts)


async def test_of_several_messages_one_starts_a_flow_that_is_entered_once_at_a_time(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await active_flow(database, "message_received", reEntry=ReEntry.AFTER_COMPLETED.value)
    await ingest.apply(await arrive(inbox, database, message(), message(minutes=1), message(user="201")))
    await ingest.apply(await arrive(inbox, database, message(minutes=2)))
    assert len({each["contactId"] for each in await flow_events(database)}) == 2
    assert len(await started(database)) == 2


async def test_a_draft_and_a_flow_that_was_deactivated_start_nothing(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await add_flow(database, "message_received")
    await deactivate(database, await active_flow(database, "message_received"))
    await ingest.apply(await arrive(inbox, database, message()))
    assert await started(database) == []


@pytest.mark.parametrize(
    "broken",
    [
        {"trigger": {"type": "no_such", "config": {}}},
        {"trigger": None},
        {"nodes": None},
        {"reEntry": "sometimes"},
        {"trigger": {"type": "message_received", "config": {"keywords": 7}}},
    ],
)
async def test_a_flow_that_can_not_be_gone_by_keeps_nobody_else_waiting(
    ingest: Ingest, inbox: Inbox, database: Database, broken: Document
) -> None:
    flow = await active_flow(database, "message_received")
    wrong = await active_flow(database, "message_received")
    await database["flows"].update_one({"_id": wrong["_id"]}, {"$set": broken})
    await ingest.apply(await arrive(inbox, database, message()))
    assert flow["_id"] in await started(database)
    assert (wrong["_id"] in await started(database)) == (broken == {"nodes": None})


async def test_a_batch_without_flows_asks_the_database_nothing_for_them(
    ingest: Ingest, inbox: Inbox, client: Client, database: Database
) -> None:
    ingest._flows._seen = float("inf")
    documents = await arrive(inbox, database, message(), event(EventKind.FOLLOW))
    async with failing(client, ["aggregate"], "alwaysOn", errorCode=11601, namespace=f"{database.name}.accounts"):
        await ingest.apply(documents)
    assert len(await everything(database, "messages")) == 1


async def test_messages_of_the_same_moment_stay_in_their_order(
    ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await active_flow(database, "message_received", config={"keywords": ["order"]}, nodes=LISTENS)
    # X's clock goes ahead of ours: these are all as of now.
    ahead = [message(text, 90) for text in ("order", "one", "two")]
    await ingest.apply(await arrive(inbox, database, *ahead))
    events = await database["flowEvents"].find().sort("at", 1).to_list()
    stored = {each["_id"]: each["content"] for each in await everything(database, "messages")}
    assert [(each["kind"], stored[each["messageId"]]) for each in events] == [
        ("start", "order"),
        ("reply", "one"),
        ("reply", "two"),
    ]
    assert len({each["at"] for each in events}) == 3
