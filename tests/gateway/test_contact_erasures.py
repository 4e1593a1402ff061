from __future__ import annotations

from typing import Any

from domain.ids import new_id
from tests.gateway.conftest import Api


async def erased(api: Api, account_id: str, twitter_user_id: str) -> str:
    contact_id = await api.contact(account_id, twitterUserId=twitter_user_id)
    await api.conversation(account_id, contact_id)
    assert (await api.delete(f"/contacts/{contact_id}"))[0] == 200
    return contact_id


async def listed(api: Api, query: str = "") -> list[dict[str, Any]]:
    status, answer = await api.get(f"/contacts/erasures{query}")
    assert (status, answer["pagination"]["total"]) == (200, len(answer["data"]))
    return list(answer["data"])


async def test_an_erasure_is_proven_without_a_name(api: Api) -> None:
    account_id = await api.account()
    contact_id = await erased(api, account_id, "70001")
    (proof,) = await listed(api)
    assert (proof["id"], proof["accountId"], proof["requestedByUserId"]) == (contact_id, account_id, api.user_id)
    assert proof["counts"]["contacts"] == proof["counts"]["conversations"] == 1
    assert proof["requestedAt"] <= proof["completedAt"]
    assert "70001" not in str(proof)
    assert (await api.get(f"/contacts/erasures/{contact_id}"))[1]["data"] == proof


async def test_the_erasures_of_a_person_are_found_by_their_id_on_x(api: Api) -> None:
    account_id = await api.account()
    first, second = await erased(api, account_id, "70002"), await erased(api, account_id, "70003")
    again = await erased(api, account_id, "70002")
    assert [each["id"] for each in await listed(api)] == [again, second, first]
    assert [each["id"] for each in await listed(api, "?twitterUserId=70002")] == [again, first]
    assert await listed(api, "?twitterUserId=70009") == []
    assert await listed(api.other_merchant(), "?twitterUserId=70002") == []
    assert (await api.get("/contacts/erasures?twitterUserId=$ne"))[0] == 400


async def test_a_person_whose_contact_was_taken_up_by_another_is_found_too(api: Api) -> None:
    account_id = await api.account()
    kept = await api.contact(account_id, twitterUserId="70004")
    other = await api.contact(account_id, twitterUserId="70005")
    assert (await api.post(f"/contacts/{kept}/merge", {"contactId": other}))[0] == 200
    assert (await api.delete(f"/contacts/{kept}"))[0] == 200
    assert [each["id"] for each in await listed(api, "?twitterUserId=70005")] == [kept]


async def test_what_is_not_erased_has_no_proof(api: Api) -> None:
    contact_id = await api.contact(await api.account())
    for unknown in (contact_id, new_id()):
        status, answer = await api.get(f"/contacts/erasures/{unknown}")
        assert (status, answer["code"]) == (404, "RESOURCE_NOT_FOUND")
    assert (await api.as_role("agent").get("/contacts/erasures"))[0] == 403
