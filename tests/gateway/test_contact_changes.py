"""Creating and changing contacts."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from domain.account_key import AccountKey
from domain.contact_drafts import new_contact
from domain.contact_fields import MOST_ATTRIBUTES, MOST_TAGS
from domain.events import EventKind, Profile, XEvent
from domain.ids import new_id
from domain.ingestion import Ingestion
from tests.gateway.conftest import NOW, Api


async def shown(api: Api, contact_id: str) -> dict[str, Any]:
    status, answer = await api.get(f"/contacts/{contact_id}")
    assert status == 200
    return dict(answer["data"])


def user_id() -> str:
    return str(uuid4().int)[:15]


# --- changing a contact


async def test_the_example_of_the_api_document_changes_name_and_attributes(api: Api) -> None:
    contact_id = await api.contact(await api.account(), attributes={"purchaseCount": 5, "preferredLanguage": "vi"})
    body = {
        "displayName": "John Doe (VIP)",
        "attributes": {"preferredLanguage": "en", "notes": "Premium customer"},
    }
    status, answer = await api.put(f"/contacts/{contact_id}", body)
    assert status == 200
    assert answer["data"] == await shown(api, contact_id)
    assert answer["data"]["displayName"] == "John Doe (VIP)"
    assert answer["data"]["attributes"] == {
        "purchaseCount": 5,
        "preferredLanguage": "en",
        "notes": "Premium customer",
    }
    assert answer["data"]["engagement"]["messagesReceived"] == 1


async def test_null_removes_an_attribute_and_leaves_the_rest(api: Api) -> None:
    contact_id = await api.contact(await api.account(), attributes={"a": 1, "b": 2})
    _, answer = await api.put(f"/contacts/{contact_id}", {"attributes": {"a": None, "never": None, "c": True}})
    assert answer["data"]["attributes"] == {"b": 2, "c": True}
    assert answer["data"]["displayName"] == "John Doe"


async def test_a_contact_is_found_by_its_new_name_and_no_more_by_the_old_one(api: Api) -> None:
    contact_id = await api.contact(await api.account())
    await api.put(f"/contacts/{contact_id}", {"displayName": "Nguyễn Văn A"})
    found = {}
    for search in ("nguyen", "doe", "customer_john"):
        _, answer = await api.get(f"/contacts?search={search}")
        found[search] = answer["pagination"]["total"]
    assert found == {"nguyen": 1, "doe": 0, "customer_john": 1}


async def test_a_name_given_by_hand_is_not_overwritten_by_x(api: Api) -> None:
    contact_id = await api.contact(await api.account())
    await api.put(f"/contacts/{contact_id}", {"displayName": "By hand"})
    document = await api.database["contacts"].find_one({"_id": contact_id})
    assert document is not None
    ingestion = Ingestion(NOW, new_id)
    ingestion.know_contact(document)
    profile: Profile = {"displayName": "As X has it", "username": "renamed"}
    account = AccountKey(document["accountId"], document["merchantId"], "100")
    ingestion.take(account, XEvent("k", EventKind.FOLLOW, "100", document["twitterUserId"], NOW, {}, profile))
    (draft,) = ingestion.contacts.values()
    assert (draft.document["displayName"], draft.document["username"]) == ("By hand", "renamed")


async def test_nothing_to_change_changes_nothing(api: Api) -> None:
    contact_id = await api.contact(await api.account())
    before = await api.database["contacts"].find_one({"_id": contact_id})
    status, _ = await api.put(f"/contacts/{contact_id}", {})
    assert status == 200
    assert await api.database["contacts"].find_one({"_id": contact_id}) == before


@pytest.mark.parametrize(
    "body",
    [
        {"username": "other"},
        {"merchantId": "m"},
        {"twitterUserId": "1"},
        {"tags": ["vip"]},
        {"displayName": ""},
        {"displayName": "   "},
        {"displayName": None},
        {"displayName": 5},
        {"displayName": "a" * 101},
        {"attributes": []},
        {"attributes": {"$set": 1}},
        {"attributes": {"a.b": 1}},
        {"attributes": {"1a": 1}},
        {"attributes": {"": 1}},
        {"attributes": {"a" * 65: 1}},
        {"attributes": {"a": {"b": 1}}},
        {"attributes": {"a": [1]}},
        {"attributes": {"a": 2**63}},
        {"attributes": {"a": "x" * 2001}},
        {"attributes": {f"a{n}": 1 for n in range(MOST_ATTRIBUTES + 1)}},
        [],
    ],
)
async def test_a_wrong_change_is_422_and_changes_nothing(api: Api, body: object) -> None:
    contact_id = await api.contact(await api.account(), attributes={"kept": 1})
    status, answer = await api.put(f"/contacts/{contact_id}", body)
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")
    after = await shown(api, contact_id)
    assert (after["displayName"], after["attributes"]) == ("John Doe", {"kept": 1})


async def test_a_wrong_attribute_is_named_in_the_answer(api: Api) -> None:
    contact_id = await api.contact(await api.account())
    _, answer = await api.put(f"/contacts/{contact_id}", {"attributes": {"colour": {}}})
    assert answer["details"]["field"] == "attributes.colour"
    assert answer["details"]["reason"].startswith("must be text")


# --- changing attributes


async def test_the_bulk_update_of_the_api_document(api: Api) -> None:
    contact_id = await api.contact(await api.account(), attributes={"purchaseCount": 5, "preferredLanguage": "vi"})
    given = {
        "purchaseCount": 6,
        "totalSpent": 1500000,
        "lastPurchaseDate": "2026-01-18",
        "membershipTier": "gold",
    }
    status, answer = await api.put(f"/contacts/{contact_id}/attributes", {"attributes": given})
    assert status == 200
    assert answer["data"]["attributes"] == given | {"preferredLanguage": "vi"}


async def test_attributes_of_every_kind_come_back_as_they_were(api: Api) -> None:
    contact_id = await api.contact(await api.account())
    given = {"t": "text", "i": 2**62, "f": 1.5, "yes": True, "no": False, "d": "2026-01-18", "l": ["a", "b"], "e": []}
    _, answer = await api.put(f"/contacts/{contact_id}/attributes", {"attributes": given})
    assert answer["data"]["attributes"] == given


async def test_the_limit_of_attributes_holds_with_those_that_are_there(api: Api) -> None:
    there = {f"a{n}": n for n in range(MOST_ATTRIBUTES)}
    contact_id = await api.contact(await api.account(), attributes=there)
    path = f"/contacts/{contact_id}/attributes"
    status, answer = await api.put(path, {"attributes": {"one_more": 1}})
    assert (status, answer["details"]["field"]) == (422, "attributes")
    assert (await api.put(path, {"attributes": {"a0": "changed"}}))[0] == 200
    assert (await api.put(path, {"attributes": {"a0": None, "one_more": 1}}))[0] == 200
    assert len((await shown(api, contact_id))["attributes"]) == MOST_ATTRIBUTES


async def test_changes_at_once_lose_nothing_and_never_cross_the_limit(api: Api) -> None:
    there = {f"a{n}": n for n in range(MOST_ATTRIBUTES - 3)}
    contact_id = await api.contact(await api.account(), attributes=there)
    path = f"/contacts/{contact_id}/attributes"
    answers = await asyncio.gather(*(api.put(path, {"attributes": {f"new{n}": n}}) for n in range(6)))
    assert sorted(status for status, _ in answers) == [200] * 3 + [422] * 3
    assert len((await shown(api, contact_id))["attributes"]) == MOST_ATTRIBUTES


# --- tags


async def test_tags_are_added_once_and_in_lower_case(api: Api) -> None:
    contact_id = await api.contact(await api.account(), tags=["customer"])
    status, answer = await api.post(f"/contacts/{contact_id}/tags", {"tags": ["VIP", " premium ", "vip", "customer"]})
    assert status == 200
    assert answer["data"]["tags"] == ["customer", "vip", "premium"]
    _, found = await api.get("/contacts?tags=vip,premium")
    assert [each["id"] for each in found["data"]] == [contact_id]


@pytest.mark.parametrize(
    "body", [{"tags": []}, {"tags": [""]}, {"tags": ["a" * 65]}, {"tags": [1]}, {"tags": "vip"}, {}, {"tags": ["a,b"]}]
)
async def test_wrong_tags_are_422(api: Api, body: object) -> None:
    contact_id = await api.contact(await api.account())
    status, answer = await api.post(f"/contacts/{contact_id}/tags", body)
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")
    assert answer["details"]["field"].startswith("tags")


async def test_the_limit_of_tags_holds_for_requests_at_once(api: Api) -> None:
    contact_id = await api.contact(await api.account(), tags=[f"t{n}" for n in range(MOST_TAGS - 2)])
    path = f"/contacts/{contact_id}/tags"
    answers = await asyncio.gather(*(api.post(path, {"tags": [f"new{n}"]}) for n in range(5)))
    assert sorted(status for status, _ in answers) == [200] * 2 + [422] * 3
    assert len((await shown(api, contact_id))["tags"]) == MOST_TAGS
    assert (await api.post(path, {"tags": ["t0"]}))[0] == 200


@pytest.mark.parametrize(
    ("tag", "path"),
    [("vip", "vip"), ("vip", "VIP"), ("gold member", "gold%20member"), ("a/b", "a%2Fb"), ("đ", "%C4%91")],
)
async def test_a_tag_is_removed_by_its_encoded_name(api: Api, tag: str, path: str) -> None:
    contact_id = await api.contact(await api.account(), tags=["kept", tag])
    for _ in range(2):
        answer = await api.answer("DELETE", f"/contacts/{contact_id}/tags/{path}")
        assert answer.status == 200
        assert await answer.json() == {"success": True, "data": None}
    assert (await shown(api, contact_id))["tags"] == ["kept"]


# --- creating


async def test_a_contact_is_created_with_all_that_is_given(api: Api) -> None:
    account_id, twitter_user_id = await api.account(), user_id()
    body = {
        "accountId": account_id,
        "twitterUserId": twitter_user_id,
        "username": "@jane_doe",
        "displayName": "Jane Doe",
        "tags": ["VIP"],
        "attributes": {"tier": "gold"},
        "consent": {"state": "opted_in", "at": "2026-01-02T03:04:05Z", "source": "newsletter"},
    }
    status, answer = await api.post("/contacts", body)
    assert status == 200
    created = answer["data"]
    assert created == await shown(api, created["id"])
    assert created["twitterUserId"] == twitter_user_id
    assert (created["username"], created["displayName"], created["tags"]) == ("jane_doe", "Jane Doe", ["vip"])
    assert created["consent"] == {"state": "opted_in", "at": "2026-01-02T03:04:05Z", "source": "newsletter"}
    assert created["source"] == "api"
    assert created["conversationCount"] == 0
    _, found = await api.get("/contacts?search=jane")
    assert [each["id"] for each in found["data"]] == [created["id"]]


async def test_a_contact_needs_no_more_than_account_and_user(api: Api) -> None:
    twitter_user_id = user_id()
    body = {"accountId": await api.account(), "twitterUserId": twitter_user_id, "consent": "opted_out"}
    _, answer = await api.post("/contacts", body)
    assert answer["data"]["username"] == answer["data"]["displayName"] == twitter_user_id
    assert answer["data"]["consent"]["state"] == "opted_out"
    assert answer["data"]["consent"]["at"] is not None


async def test_ingestion_goes_on_with_a_contact_that_was_created(api: Api) -> None:
    body = {"accountId": await api.account(), "twitterUserId": user_id()}
    _, answer = await api.post("/contacts", body)
    document = await api.database["contacts"].find_one({"_id": answer["data"]["id"]})
    assert document is not None
    made_by_an_event = new_contact(*_first_event(body), NOW, new_id())
    assert document.keys() == made_by_an_event.keys()
    assert (document["firstInteractionAt"], document["lastInteractionAt"]) == (None, None)
    differ = {"profileImageUrl", "firstInteractionAt", "lastInteractionAt"}
    assert {name: type(value) for name, value in document.items() if name not in differ} == {
        name: type(value) for name, value in made_by_an_event.items() if name not in differ
    }


def _first_event(body: dict[str, str]) -> tuple[Any, Any]:
    account = AccountKey(body["accountId"], "m", "100")
    return account, XEvent("k", EventKind.FOLLOW, "100", body["twitterUserId"], NOW, {})


async def test_a_user_that_the_account_knows_is_409_and_another_account_may_know_it_too(api: Api) -> None:
    body = {"accountId": await api.account(), "twitterUserId": user_id()}
    assert (await api.post("/contacts", body))[0] == 200
    status, answer = await api.post("/contacts", body)
    assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")
    assert (await api.post("/contacts", body | {"accountId": await api.account()}))[0] == 200


async def test_the_same_key_creates_one_contact_and_answers_the_same(api: Api) -> None:
    body = {"accountId": await api.account(), "twitterUserId": user_id()}
    headers = {"Idempotency-Key": new_id()}
    first = await api.post("/contacts", body, headers=headers)
    assert first[0] == 200
    assert await api.post("/contacts", body, headers=headers) == first


async def test_an_account_of_another_merchant_is_as_unknown_as_any(api: Api) -> None:
    foreign = await api.other_merchant().account()
    answers = []
    for account_id in (foreign, new_id()):
        status, answer = await api.post("/contacts", {"accountId": account_id, "twitterUserId": user_id()})
        assert (status, answer["details"]["field"]) == (422, "accountId")
        answers.append(answer | {"requestId": None})
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    "change",
    [
        {"twitterUserId": "abc"},
        {"twitterUserId": ""},
        {"twitterUserId": 5},
        {"username": "a b"},
        {"displayName": ""},
        {"tags": [""]},
        {"attributes": {"a": None}},
        {"attributes": {"$a": 1}},
        {"consent": "perhaps"},
        {"consent": {"state": "opted_in", "at": "yesterday"}},
        {"merchantId": "m"},
        {"source": "x"},
    ],
)
async def test_a_wrong_contact_is_422(api: Api, change: dict[str, object]) -> None:
    body = {"accountId": await api.account(), "twitterUserId": user_id()} | change
    status, answer = await api.post("/contacts", body)
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")


# --- consent


async def test_consent_is_changed_with_its_source_and_time(api: Api) -> None:
    contact_id = await api.contact(await api.account())
    path = f"/contacts/{contact_id}"
    _, answer = await api.put(path, {"consent": "opted_in", "consentSource": "shop form"})
    consent = answer["data"]["consent"]
    assert (consent["state"], consent["source"], consent["at"] is not None) == ("opted_in", "shop form", True)
    given = {"state": "opted_out", "at": "2026-01-02T03:04:05Z", "source": "phone call"}
    _, answer = await api.put(path, {"consent": given})
    assert answer["data"]["consent"] == given
    # Opted out once more: since when and how that is known stays.
    _, answer = await api.put(path, {"consent": "opted_out", "displayName": "Ann"})
    assert (answer["data"]["consent"], answer["data"]["displayName"]) == (given, "Ann")


@pytest.mark.parametrize("consent", ["opted_in", "inbound", "none", {"state": "opted_in", "source": "newsletter"}])
async def test_an_opt_out_is_not_undone_in_passing(api: Api, consent: object) -> None:
    stopped = {"state": "opted_out", "at": NOW, "source": "stop_word"}
    contact_id = await api.contact(await api.account(), consent=stopped)
    path = f"/contacts/{contact_id}"
    status, answer = await api.put(path, {"consent": consent, "displayName": "Ann"})
    assert (status, answer["details"]["field"]) == (422, "consentSource")
    before = await shown(api, contact_id)
    assert (before["consent"]["state"], before["displayName"] == "Ann") == ("opted_out", False)
    status, answer = await api.put(path, {"consent": consent, "consentSource": "called us on 3 May"})
    state = consent["state"] if isinstance(consent, dict) else consent
    assert (status, answer["data"]["consent"]["state"]) == (200, state)
    if state != "none":
        assert answer["data"]["consent"]["source"] == "called us on 3 May"


@pytest.mark.parametrize(
    "change", [{"consent": None}, {"consent": "maybe"}, {"consentSource": ""}, {"consentSource": "a form"}]
)
async def test_consent_that_makes_no_sense_is_422(api: Api, change: dict[str, object]) -> None:
    contact_id = await api.contact(await api.account())
    assert (await api.put(f"/contacts/{contact_id}", change))[0] == 422


async def test_a_contact_shows_that_x_lets_nothing_through(api: Api) -> None:
    account_id = await api.account()
    blocked = await api.contact(account_id, suppression={"reason": "blocked", "at": NOW})
    assert (await shown(api, blocked))["suppression"]["reason"] == "blocked"
    assert (await shown(api, await api.contact(account_id)))["suppression"] is None
