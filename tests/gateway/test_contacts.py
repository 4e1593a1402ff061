from __future__ import annotations

import pytest

from domain.ids import new_id
from tests.gateway.conftest import Api, later


async def names(api: Api, query: str) -> list[str]:
    status, answer = await api.get(f"/contacts{query}")
    assert status == 200
    assert answer["pagination"]["total"] == len(answer["data"])
    return [each["username"] for each in answer["data"]]


async def test_contacts_are_listed_latest_interaction_first(api: Api) -> None:
    account_id = await api.account()
    for number in range(3):
        await api.contact(account_id, f"person{number}", lastInteractionAt=later(minutes=number))
    assert await names(api, "") == ["person2", "person1", "person0"]
    _, answer = await api.get("/contacts?skip=1&take=1")
    assert [each["username"] for each in answer["data"]] == ["person1"]
    assert answer["pagination"] == {"page": 2, "limit": 1, "total": 3, "totalPages": 3}


async def test_a_listed_contact_has_the_fields_of_the_api_document(api: Api) -> None:
    account_id = await api.account()
    attributes = {"purchaseCount": 5, "totalSpent": 1250000, "lastPurchaseDate": "2026-01-15"}
    contact_id = await api.contact(account_id, tags=["vip", "customer"], attributes=attributes)
    _, answer = await api.get("/contacts")
    (shown,) = answer["data"]
    assert shown["id"] == contact_id
    assert shown["accountId"] == account_id
    assert shown["tags"] == ["vip", "customer"]
    assert shown["attributes"] == attributes
    assert shown["lastInteractionAt"] == "2026-01-18T10:00:00Z"
    assert "searchTerms" not in shown
    assert "merchantId" not in shown


async def test_filters_narrow_the_list_together(api: Api) -> None:
    one, two = await api.account(), await api.account()
    await api.contact(one, "ann", tags=["vip"])
    await api.contact(one, "bob", tags=["vip", "customer"])
    await api.contact(two, "cid", tags=["vip", "customer"])
    assert set(await names(api, f"?accountId={one}")) == {"ann", "bob"}
    assert set(await names(api, "?tags=vip")) == {"ann", "bob", "cid"}
    assert set(await names(api, "?tags=VIP,%20customer")) == {"bob", "cid"}
    assert await names(api, f"?tags=vip,customer&accountId={two}") == ["cid"]
    assert await names(api, "?tags=nobody") == []


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("john", True),
        ("JOHN", True),
        ("doe", True),
        ("customer_john", True),
        ("%40customer_jo", True),
        ("john%20d", True),
        ("dao", True),
        ("", True),
        ("jane", False),
        ("john%20smith", False),
        (".*", False),
        ("^john", False),
        ("c*", False),
        ("john%25", False),
        ("%40john", True),
        ("customer%20john", True),
        ("customer-john", False),
        ("CUSTOMER_J", True),
        ("o'neil", True),
        ("ô'neïl", True),
        ("o.neil", False),
        ("50%25", True),
        ("(vip)", True),
        ("(vip)%20john", True),
        ("\uff08VIP\uff09", True),
        ("㈱テスト", True),
        ("(公式)", True),
        ("[vip]", False),
        ("j.hn", False),
        ("$where", False),
        ("{%22$ne%22:null}", False),
    ],
)
async def test_search_is_literal_and_knows_no_case_and_no_accents(api: Api, search: str, found: bool) -> None:
    account_id = await api.account()
    await api.contact(account_id, "customer_john", displayName="John Doe Đào O'Néil 50% (VIP) ㈱テスト\uff08公式\uff09")
    assert await names(api, f"?search={search}") == (["customer_john"] if found else [])


async def test_a_contact_that_was_made_by_hand_has_had_no_interaction_and_comes_last(api: Api) -> None:
    account_id = await api.account()
    status, answer = await api.post("/contacts", {"accountId": account_id, "twitterUserId": "12345", "username": "new"})
    assert status == 200
    assert (answer["data"]["firstInteractionAt"], answer["data"]["lastInteractionAt"]) == (None, None)
    await api.contact(account_id, "old")
    assert await names(api, f"?accountId={account_id}") == ["old", "new"]


async def test_one_term_must_satisfy_a_word_of_the_search(api: Api) -> None:
    await api.contact(await api.account(), "aa_zz", displayName="")
    assert await names(api, "?search=mm") == []


async def test_one_contact_comes_with_its_engagement(api: Api) -> None:
    contact_id = await api.contact(
        await api.account(), messagesSent=15, messagesReceived=18, responseSeconds=990, responseCount=3
    )
    _, answer = await api.get(f"/contacts/{contact_id}")
    assert answer["data"]["engagement"] == {
        "messagesSent": 15,
        "messagesReceived": 18,
        "averageResponseTime": "5m 30s",
    }
    assert answer["data"]["source"] == "inbound_message"


async def test_without_answers_there_is_no_response_time(api: Api) -> None:
    contact_id = await api.contact(await api.account())
    _, answer = await api.get(f"/contacts/{contact_id}")
    assert answer["data"]["engagement"]["averageResponseTime"] is None


async def test_a_contact_s_conversations_are_filtered_by_status(api: Api) -> None:
    account_id = await api.account()
    contact_id = await api.contact(account_id)
    closed = await api.conversation(account_id, contact_id, status="closed")
    opened = await api.conversation(account_id, contact_id, lastMessageAt=later(hours=1))
    _, everything = await api.get(f"/contacts/{contact_id}/conversations")
    assert [each["id"] for each in everything["data"]] == [opened, closed]
    assert everything["data"][0]["contact"] == {"username": "customer_john", "displayName": "John Doe"}
    _, answer = await api.get(f"/contacts/{contact_id}/conversations?status=closed")
    assert [each["id"] for each in answer["data"]] == [closed]


@pytest.mark.parametrize("path", ["/contacts/{id}", "/contacts/{id}/conversations"])
async def test_another_merchant_s_contact_is_not_there(api: Api, path: str) -> None:
    contact_id = await api.contact(await api.account())
    stranger = api.other_merchant()
    status, answer = await stranger.get(path.format(id=contact_id))
    unknown_status, unknown = await stranger.get(path.format(id=new_id()))
    assert (status, answer["code"]) == (unknown_status, unknown["code"]) == (404, "RESOURCE_NOT_FOUND")


@pytest.mark.parametrize("query", ["", "?search=john", "?tags=vip", "?accountId={account}"])
async def test_another_merchant_s_contacts_are_not_listed(api: Api, query: str) -> None:
    account_id = await api.account()
    await api.contact(account_id, tags=["vip"])
    assert await names(api, query.format(account=account_id)) == ["customer_john"]
    assert await names(api.other_merchant(), query.format(account=account_id)) == []
