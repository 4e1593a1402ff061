from __future__ import annotations

from typing import Any

import pytest

from domain.errors import LimitExceeded, Unavailable
from domain.ids import new_id
from tests.gateway.campaigns import campaign, template
from tests.gateway.conftest import NOW, Actors, Api


async def sent(api: Api) -> list[dict[str, Any]]:
    return await api.database["messages"].find({"merchantId": api.merchant_id}).sort("_id").to_list(None)


async def tried(api: Api, campaign_id: str, *contact_ids: str, **body: object) -> list[dict[str, Any]]:
    variables = {"discount_code": "TEST10"}
    body = {"contactIds": list(contact_ids), "variables": variables} | body
    status, answer = await api.post(f"/campaigns/{campaign_id}/test", body)
    assert status == 200, answer
    results: list[dict[str, Any]] = answer["data"]["results"]
    return results


async def test_a_test_is_rendered_for_each_contact_and_sent_by_its_account(api: Api, actors: Actors) -> None:
    one, two = await api.account(), await api.account()
    john = await api.contact(one, displayName="John")
    ann = await api.contact(two, displayName="Ann")
    known = await campaign(api)
    results = await tried(api, known["id"], john, ann)
    messages = {each["contactId"]: each for each in await sent(api)}
    assert results == [
        {"contactId": each, "messageId": messages[each]["_id"], "status": "sent", "error": None} for each in (john, ann)
    ]
    assert messages[john]["content"] == "Hi John, use TEST10"
    assert messages[ann]["content"] == "Hi Ann, use TEST10"
    assert {each["source"] for each in messages.values()} == {"test"}
    assert sorted(actors.calls) == sorted([("deliver", one), ("deliver", two)])


async def test_a_test_is_counted_nowhere(api: Api) -> None:
    known = await campaign(api)
    await tried(api, known["id"], await api.contact(await api.account()))
    _, answer = await api.get(f"/campaigns/{known['id']}")
    assert (answer["data"]["metrics"], answer["data"]["status"]) == (known["metrics"], "draft")
    assert await api.database["campaignRecipients"].count_documents({"campaignId": known["id"]}) == 0
    (message,) = await sent(api)
    assert "campaign" not in message


async def test_given_variables_bind_more_than_the_campaigns_own(api: Api) -> None:
    template_id = await template(api, "{{shop}} {{discount_code}}")
    known = await campaign(api, templateId=template_id, variables={"shop": "GoodGo", "discount_code": "REAL"})
    await tried(api, known["id"], await api.contact(await api.account()))
    assert [each["content"] for each in await sent(api)] == ["GoodGo TEST10"]


async def test_buttons_go_with_it_and_links_stay_as_they_are(api: Api) -> None:
    buttons = [{"label": "Shop", "url": "https://example.com/shop"}]
    template_id = await template(api, "See https://example.com/sale", type="card", buttons=buttons)
    known = await campaign(api, templateId=template_id)
    await tried(api, known["id"], await api.contact(await api.account()))
    (message,) = await sent(api)
    assert (message["type"], message["content"]) == ("card", "See https://example.com/sale")
    assert message["buttons"] == buttons


async def test_a_variant_is_chosen_by_name_and_is_the_first_else(api: Api) -> None:
    variants = [{"name": name, "templateId": await template(api, f"This is {name}")} for name in ("short", "long")]
    known, contact_id = await campaign(api, variants=variants), await api.contact(await api.account())
    await tried(api, known["id"], contact_id)
    await tried(api, known["id"], contact_id, variant="long")
    assert sorted(each["content"] for each in await sent(api)) == ["This is long", "This is short"]
    status, answer = await api.post(f"/campaigns/{known['id']}/test", {"contactIds": [contact_id], "variant": "tall"})
    assert (status, answer["details"]["field"]) == (422, "variant")


async def test_a_conversation_is_used_where_there_is_one_and_begun_else(api: Api) -> None:
    account_id = await api.account()
    known_to_us, fresh = await api.contact(account_id), await api.contact(account_id, conversationCount=0)
    conversation_id = await api.conversation(account_id, known_to_us)
    closed = await api.conversation(account_id, fresh, status="closed")
    await tried(api, (await campaign(api))["id"], known_to_us, fresh)
    by_contact = {each["contactId"]: each["conversationId"] for each in await sent(api)}
    assert by_contact[known_to_us] == conversation_id
    begun = await api.database["conversations"].find_one({"_id": by_contact[fresh]})
    assert begun is not None
    assert begun["_id"] != closed
    assert (begun["status"], begun["contactId"], begun["accountId"]) == ("open", fresh, account_id)
    contact = await api.database["contacts"].find_one({"_id": fresh})
    assert contact is not None
    assert contact["conversationCount"] == 1


async def test_nothing_is_sent_where_a_variable_is_missing_for_one(api: Api, actors: Actors) -> None:
    account_id = await api.account()
    with_tier = await api.contact(account_id, attributes={"tier": "gold"})
    known = await campaign(api, templateId=await template(api, "You are {{attributes.tier}}"))
    body = {"contactIds": [with_tier, await api.contact(account_id)]}
    status, answer = await api.post(f"/campaigns/{known['id']}/test", body)
    assert (status, answer["code"], answer["details"]["reason"]) == (422, "VALIDATION_ERROR", "is filled by nothing")
    assert (await sent(api), actors.calls) == ([], [])


async def test_contacts_of_others_and_unknown_ones_are_named(api: Api, actors: Actors) -> None:
    stranger = api.other_merchant()
    foreign = await stranger.contact(await stranger.account())
    body = {"contactIds": [await api.contact(await api.account()), foreign, new_id()]}
    status, answer = await api.post(f"/campaigns/{(await campaign(api))['id']}/test", body | {"variables": {}})
    assert status == 422
    assert [each["field"] for each in answer["details"]["errors"]] == ["contactIds.1", "contactIds.2"]
    assert actors.calls == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "contactIds"),
        ({"contactIds": []}, "contactIds"),
        ({"contactIds": [str(n) for n in range(21)]}, "contactIds"),
        ({"contactIds": ["a", "a"]}, "contactIds"),
        ({"contactIds": [{"$gt": ""}]}, "contactIds.0"),
        ({"contactIds": ["a"], "variables": {"$where": "1"}}, "variables.$where"),
        ({"contactIds": ["a"], "source": "campaign"}, "source"),
    ],
)
async def test_what_does_not_fit_is_refused_by_name(api: Api, body: object, field: str) -> None:
    status, answer = await api.post(f"/campaigns/{(await campaign(api))['id']}/test", body)
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")
    assert answer["details"]["field"].startswith(field)


async def test_who_has_opted_out_is_refused_in_its_row(api: Api, actors: Actors) -> None:
    account_id = await api.account()
    out = await api.contact(account_id, consent={"state": "opted_out", "at": NOW, "source": "message"})
    other = await api.contact(account_id)
    results = await tried(api, (await campaign(api))["id"], out, other)
    assert results[0] == {"contactId": out, "messageId": None, "status": "refused", "error": "opted_out"}
    assert results[1]["status"] == "sent"
    assert [each["contactId"] for each in await sent(api)] == [other]


async def test_what_x_refuses_is_said_in_its_row(api: Api, actors: Actors) -> None:
    account_id = await api.account()
    bad, good = await api.contact(account_id), await api.contact(account_id)

    async def deliver(message_id: str) -> str:
        message = await api.database["messages"].find_one({"_id": message_id})
        assert message is not None
        if message["contactId"] == bad:
            failure = {"reason": "recipient_refuses_messages", "code": 349, "text": "no"}
            return await actors.mark(message_id, status="failed", pending=False, failure=failure)
        return await actors.mark(message_id, status="unknown")

    actors.deliver = deliver
    results = await tried(api, (await campaign(api))["id"], bad, good)
    assert [(each["status"], each["error"]) for each in results] == [
        ("failed", "recipient_refuses_messages"),
        ("unknown", None),
    ]


@pytest.mark.parametrize("error", [LimitExceeded("used up", retry_after_s=1), Unavailable("gone", retry_after_s=2)])
async def test_what_may_not_be_sent_now_is_not_kept(api: Api, actors: Actors, error: Exception) -> None:
    async def refuse(_message_id: str) -> str:
        raise error

    actors.deliver = refuse
    (result,) = await tried(api, (await campaign(api))["id"], await api.contact(await api.account()))
    assert (result["status"], result["messageId"], result["error"]) == ("refused", None, str(error))
    assert await sent(api) == []


async def test_an_account_that_was_disconnected_refuses_in_its_row(api: Api, actors: Actors) -> None:
    contact_id = await api.contact(await api.account(connected=False, status="inactive"))
    (result,) = await tried(api, (await campaign(api))["id"], contact_id)
    assert (result["status"], result["messageId"]) == ("refused", None)
    assert actors.calls == []


async def test_a_repeated_request_is_the_same_messages(api: Api, actors: Actors) -> None:
    account_id = await api.account()
    body = {"contactIds": [await api.contact(account_id), await api.contact(account_id)]}
    known, key = await campaign(api, templateId=await template(api, "Hello")), {"Idempotency-Key": new_id()}

    async def break_down(_message_id: str) -> str:
        raise RuntimeError("cut off")

    actors.deliver = break_down
    status, _ = await api.post(f"/campaigns/{known['id']}/test", body, headers=key)
    assert status == 500
    actors.deliver = None
    answers = [await api.post(f"/campaigns/{known['id']}/test", body, headers=key) for _ in range(2)]
    (status, first), (_, second) = answers
    assert (status, first["data"]) == (200, second["data"])
    results = first["data"]["results"]
    assert [each["status"] for each in results] == ["sent", "sent"]
    assert len({each["messageId"] for each in results}) == 2
    assert {each["_id"] for each in await sent(api)} == {each["messageId"] for each in results}
