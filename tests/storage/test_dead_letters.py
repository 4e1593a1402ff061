"""Events that came before their account was connected: taken up once, in order, when it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from domain.events import EventKind, XEvent
from storage import dead_letters
from storage.client import Client, Database
from storage.dead_letters import REVIVED, DeadLetters, unknown_account_letter
from storage.inbox import Inbox, event_of
from storage.indexes import ensure_indexes
from storage.ingest import Ingest
from tests.storage.arrivals import START, arrive, connect, event, everything, ingest_of, message

#: `arrivals.Clock` stands here: what is put aside is put aside now.
NOW = START + timedelta(hours=1)


@pytest.fixture
def letters(database: Database) -> DeadLetters:
    return DeadLetters(database)


@pytest.fixture
def inbox(client: Client, database: Database) -> Inbox:
    return Inbox(client, database)


@pytest.fixture
async def ingest(client: Client, database: Database) -> Ingest:
    await ensure_indexes(database)
    return ingest_of(client, database)


async def put_aside(ingest: Ingest, inbox: Inbox, database: Database, events: Sequence[XEvent]) -> None:
    """Let events come for accounts that nobody has connected."""
    result = await ingest.apply(await arrive(inbox, database, *events))
    assert result.unrouted == len(events)


async def texts_waiting(database: Database) -> list[str]:
    documents = await everything(database, "inbox")
    return [str(event_of(entry, NOW).data.get("text", "")) for each in documents for entry in each["events"]]


async def test_what_came_before_the_account_is_processed_once_it_is_connected(
    letters: DeadLetters, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await put_aside(ingest, inbox, database, [message("hello"), event(EventKind.FOLLOW), message("other", shop="101")])
    assert await letters.revive_all(NOW) == 0
    assert await letters.waiting() == 3
    await connect(database)
    assert await letters.revive_all(NOW) == 2
    assert await letters.revive_all(NOW) == 0
    result = await ingest.apply(await everything(database, "inbox"))
    assert (result.messages, result.unrouted) == (1, 0)
    (stored,) = await everything(database, "messages")
    assert (stored["content"], stored["at"], stored["accountId"]) == ("hello", START, "account-100")
    assert [each["kind"] for each in await everything(database, "activities")] == ["follow"]
    (left,) = await everything(database, "deadLetters")
    assert left["forUserId"] == "101"


async def test_they_come_back_in_the_order_of_their_times_whatever_the_batches(
    letters: DeadLetters, ingest: Ingest, inbox: Inbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_BATCH", 3)
    for minutes in (7, 2, 9, 0, 5, 1, 8):
        await put_aside(ingest, inbox, database, [message(f"minute {minutes}", minutes)])
    await inbox.add([message("waits already", 20)], START)
    assert await letters.revive("100", NOW) == 7
    assert await texts_waiting(database) == ["waits already", *(f"minute {n}" for n in (0, 1, 2, 5, 7, 8, 9))]


async def test_an_event_that_x_has_delivered_again_meanwhile_has_its_effect_once(
    letters: DeadLetters, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    twice = [message("hello", x_id="9001"), event(EventKind.LIKE)]
    await put_aside(ingest, inbox, database, twice)
    await connect(database)
    await ingest.apply(await arrive(inbox, database, *twice))
    assert await letters.revive("100", NOW) == 2
    result = await ingest.apply(await everything(database, "inbox"))
    assert (result.messages, result.duplicates) == (0, 2)
    assert len(await everything(database, "messages")) == len(await everything(database, "activities")) == 1


async def test_two_that_take_them_up_at_once_take_each_up_once(
    ingest: Ingest, inbox: Inbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_BATCH", 4)
    await put_aside(ingest, inbox, database, [message(f"text {number}", number) for number in range(20)])
    counts = await asyncio.gather(*(DeadLetters(database).revive("100", NOW) for _ in range(3)))
    assert sum(counts) == 20
    assert sorted(await texts_waiting(database)) == sorted(f"text {number}" for number in range(20))


class KilledError(Exception):
    """The process is gone."""


def _dying(work: Callable[..., Any]) -> Callable[..., Any]:
    calls = 0

    async def add(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        done = await work(*arguments)
        if calls == 2:
            raise KilledError
        return done

    return add


async def test_being_cut_off_loses_and_doubles_nothing(
    letters: DeadLetters, ingest: Ingest, inbox: Inbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters, "_BATCH", 2)
    await put_aside(ingest, inbox, database, [message(f"text {number}", number) for number in range(6)])
    await connect(database)
    with monkeypatch.context() as patched:
        patched.setattr(letters._inbox, "add", _dying(letters._inbox.add))
        with pytest.raises(KilledError):
            await letters.revive("100", NOW)
    assert (len(await texts_waiting(database)), await letters.waiting()) == (2, 4)
    assert await letters.revive_all(NOW) == 4
    assert await texts_waiting(database) == [f"text {number}" for number in range(6)]


async def test_only_the_last_days_are_taken_up(letters: DeadLetters, database: Database) -> None:
    for days, x_id in ((8, "old"), (6, "new")):
        late = message(x_id, x_id=x_id)
        letter = unknown_account_letter(late, NOW - timedelta(days=days))
        await database["deadLetters"].insert_one({"_id": late.key, **letter})
    assert timedelta(days=6) < REVIVED < timedelta(days=8)
    assert await letters.revive("100", NOW) == 1
    assert await texts_waiting(database) == ["new"]


async def test_what_is_put_aside_again_is_not_taken_up_for_ever(
    letters: DeadLetters, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await put_aside(ingest, inbox, database, [message("nobody's")])
    assert await letters.revive("100", NOW) == 1
    await ingest.apply(await everything(database, "inbox"))
    assert await letters.waiting() == 1
    assert await letters.revive("100", NOW - timedelta(seconds=1)) == 0


async def test_that_access_was_revoked_before_does_not_take_the_account_away_again(
    letters: DeadLetters, ingest: Ingest, inbox: Inbox, database: Database
) -> None:
    await put_aside(ingest, inbox, database, [event(EventKind.REVOKE), message("hello")])
    account_id = await connect(database)
    await letters.revive("100", NOW)
    await ingest.apply(await everything(database, "inbox"))
    account = await database["accounts"].find_one({"_id": account_id})
    assert account is not None
    assert account["status"] == "active"
    assert len(await everything(database, "messages")) == 1
    assert await letters.waiting() == 0


async def test_what_could_not_be_processed_stays(letters: DeadLetters, inbox: Inbox, database: Database) -> None:
    await connect(database)
    (document,) = await arrive(inbox, database, message("poison"))
    await inbox.bury(document, "failed: KeyError", NOW)
    assert await letters.revive_all(NOW) == 0
    assert (await letters.waiting(), await letters.broken()) == (0, 1)
