"""When and why a contact's consent has changed."""

from __future__ import annotations

import asyncio

import orjson

from domain.ids import new_id
from tests.gateway.conftest import NOW, Api
from tests.gateway.test_contact_import import imported

STOPPED = {"state": "opted_out", "at": NOW, "source": "stop_word"}


async def history(api: Api, contact_id: str) -> list[tuple[str, str]]:
    """Return state and source of what was before, and of what is."""
    status, answer = await api.get(f"/contacts/{contact_id}")
    assert status == 200
    consents = [*answer["data"]["consentHistory"], answer["data"]["consent"]]
    return [(consent["state"], consent["source"]) for consent in consents]


async def test_every_change_leaves_what_was_before(api: Api) -> None:
    contact_id = await api.contact(await api.account(), consent=STOPPED)
    assert await history(api, contact_id) == [("opted_out", "stop_word")]
    agreed = {"consent": "opted_in", "consentSource": "written consent"}
    _, answer = await api.put(f"/contacts/{contact_id}", agreed)
    (before,) = answer["data"]["consentHistory"]
    assert (before["state"], before["source"], before["at"]) == ("opted_out", "stop_word", "2026-01-18T10:00:00Z")
    await api.put(f"/contacts/{contact_id}", {"consent": "opted_out"})
    said = [("opted_out", "stop_word"), ("opted_in", "written consent"), ("opted_out", "api")]
    assert await history(api, contact_id) == said
    # Neither a refusal nor another change leaves anything.
    assert (await api.put(f"/contacts/{contact_id}", {"consent": "opted_in"}))[0] == 422
    await api.put(f"/contacts/{contact_id}", {"displayName": "Ann"})
    assert await history(api, contact_id) == said


async def test_that_nothing_was_known_is_no_history(api: Api) -> None:
    nothing = {"state": "none", "at": None, "source": None}
    contact_id = await api.contact(await api.account(), consent=nothing)
    await api.put(f"/contacts/{contact_id}", {"consent": "opted_in"})
    assert await history(api, contact_id) == [("opted_in", "api")]


async def test_an_import_leaves_what_was_before(api: Api) -> None:
    account_id, user_id = await api.account(), str(int(new_id().replace("-", ""), 16))[:15]
    contact_id = await api.contact(account_id, twitterUserId=user_id, consent=STOPPED)
    row = {"twitterUserId": user_id, "consent": "opted_in", "consentSource": "form of 3 May"}
    await imported(api, account_id, "jsonl", orjson.dumps(row).decode())
    assert await history(api, contact_id) == [("opted_out", "stop_word"), ("opted_in", "form of 3 May")]


async def test_changes_at_the_same_time_are_all_in_it(api: Api) -> None:
    contact_id = await api.contact(await api.account(), consent=STOPPED)
    sources = {f"form {number}" for number in range(8)}
    changes = [{"consent": "opted_in", "consentSource": source} for source in sources]
    answers = await asyncio.gather(*(api.put(f"/contacts/{contact_id}", change) for change in changes))
    assert {status for status, _ in answers} == {200}
    said = await history(api, contact_id)
    assert said[0] == ("opted_out", "stop_word")
    assert sorted(source for _, source in said[1:]) == sorted(sources)


async def test_the_last_twenty_are_kept(api: Api) -> None:
    contact_id = await api.contact(await api.account(), consent=STOPPED)
    for number in range(22):
        change = {"consent": "opted_in", "consentSource": f"form {number}"}
        assert (await api.put(f"/contacts/{contact_id}", change))[0] == 200
    assert await history(api, contact_id) == [("opted_in", f"form {number}") for number in range(1, 22)]


async def test_the_export_holds_it(api: Api) -> None:
    contact_id = await api.contact(await api.account(), consent=STOPPED)
    await api.put(f"/contacts/{contact_id}", {"consent": "opted_in", "consentSource": "form"})
    _, answer = await api.get(f"/contacts/{contact_id}/export")
    (before,) = answer["data"]["contact"]["consentHistory"]
    assert before["state"] == "opted_out"
