from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

from actors.runtime.actor import Actor
from actors.runtime.host import ActorHost
from actors.runtime.reminders import ReminderService
from domain.clock import SystemClock
from domain.errors import Unavailable
from domain.partition import PARTITIONS, partition_of
from domain.reminder import Reminder
from storage.client import Database
from storage.reminders import Reminders

EVERYTHING = range(PARTITIONS)


class Sleeper(Actor):
    kind = "sleeper"

    def __init__(self, key: str, woken: list[tuple[str, str, object]], failures: dict[str, int]) -> None:
        super().__init__(key)
        self._woken = woken
        self._failures = failures

    async def on_reminder(self, name: str, payload: Mapping[str, object]) -> None:
        if self._failures.get(self.key, 0) > 0:
            self._failures[self.key] -= 1
            raise Unavailable("not now")
        self._woken.append((self.key, name, payload.get("n")))


class Bedroom:
    """One host with its reminder service."""

    def __init__(self, database: Database, partitions: range = EVERYTHING) -> None:
        self.woken: list[tuple[str, str, object]] = []
        self.failures: dict[str, int] = {}
        self.host = ActorHost({"sleeper": lambda key: Sleeper(key, self.woken, self.failures)})
        self.reminders = Reminders(database)
        self.service = ReminderService(self.reminders, self.host, partitions, SystemClock(), read_every_s=0.05)

    async def until_woken(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len(self.woken) < count:
                await asyncio.sleep(0.01)


def remind(key: str, seconds: float, name: str = "wake", n: int = 0) -> Reminder:
    return Reminder("sleeper", key, name, SystemClock().now() + timedelta(seconds=seconds), {"n": n})


async def test_everybody_is_woken_once_in_the_order_of_their_times(database: Database) -> None:
    bedroom = Bedroom(database)
    for number in range(20):
        await bedroom.reminders.set(remind(f"s{number}", 0.5 - number * 0.02, n=number))
    bedroom.service.start()
    await bedroom.until_woken(20)
    async with asyncio.timeout(60):
        while await database["reminders"].count_documents({}):
            await asyncio.sleep(0.01)
    await bedroom.service.stop()
    assert sorted(n for _, _, n in bedroom.woken) == list(range(20))


class HeldReads(Reminders):
    """Answers what was there when it was asked, as late as it is let."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.asked, self.let = asyncio.Event(), asyncio.Event()

    async def due(
        self, partitions: range, until: datetime, limit: int, after: Reminder | None = None
    ) -> list[Reminder]:
        found = await super().due(partitions, until, limit, after)
        self.asked.set()
        await self.let.wait()
        return found


async def test_who_is_woken_while_reminders_are_read_is_not_woken_again(database: Database) -> None:
    bedroom = Bedroom(database)
    await bedroom.reminders.set(remind("s", 0.3))
    await bedroom.service.read()
    held = bedroom.service._store = HeldReads(database)
    reading = asyncio.create_task(bedroom.service.read())
    await held.asked.wait()
    await bedroom.until_woken(1)
    async with asyncio.timeout(60):
        while bedroom.service._waiting:
            await asyncio.sleep(0.01)
    held.let.set()
    await reading
    assert bedroom.service._waiting == {}
    await bedroom.service.stop()
    assert len(bedroom.woken) == 1


async def test_nobody_is_woken_early_or_after_a_cancellation(database: Database) -> None:
    bedroom = Bedroom(database)
    await bedroom.reminders.set(remind("later", 3600))
    await bedroom.reminders.set(remind("never", 0))
    await bedroom.reminders.cancel("sleeper", "never", "wake")
    await bedroom.reminders.set(remind("now", 0))
    bedroom.service.start()
    await bedroom.until_woken(1)
    await bedroom.service.read()
    await bedroom.service.stop()
    assert [key for key, _, _ in bedroom.woken] == ["now"]
    assert await database["reminders"].count_documents({}) == 1


async def test_a_reminder_that_is_set_again_moves(database: Database) -> None:
    bedroom = Bedroom(database)
    await bedroom.reminders.set(remind("s", 3600, n=1))
    await bedroom.reminders.set(remind("s", 0, n=2))
    bedroom.service.start()
    await bedroom.until_woken(1)
    await bedroom.service.stop()
    assert bedroom.woken == [("s", "wake", 2)]


async def test_a_reminder_moved_by_its_own_actor_is_not_lost(database: Database) -> None:
    bedroom = Bedroom(database)
    first = remind("s", 0, n=1)
    await bedroom.reminders.set(first)
    await bedroom.reminders.set(remind("s", 3600, n=2))
    await bedroom.reminders.done(first)
    assert await database["reminders"].count_documents({"payload.n": 2}) == 1


async def test_what_a_dead_host_has_not_ended_is_done_by_its_successor(database: Database) -> None:
    dead = Bedroom(database)
    dead.failures["s"] = 1
    await dead.reminders.set(remind("s", 0, n=7))
    await dead.service.read()
    async with asyncio.timeout(60):
        while dead.failures["s"]:
            await asyncio.sleep(0.01)
    successor = Bedroom(database)
    successor.service.start()
    await successor.until_woken(1)
    await successor.service.stop()
    await dead.service.stop()
    assert successor.woken == [("s", "wake", 7)]


async def test_a_host_wakes_only_actors_of_its_own_partitions(database: Database) -> None:
    own = partition_of("sleeper", "mine")
    bedroom = Bedroom(database, range(own, own + 1))
    other = next(f"x{n}" for n in range(1000) if partition_of("sleeper", f"x{n}") != own)
    await bedroom.reminders.set(remind(other, 0))
    await bedroom.reminders.set(remind("mine", 0))
    bedroom.service.start()
    await bedroom.until_woken(1)
    await bedroom.service.stop()
    assert [key for key, _, _ in bedroom.woken] == ["mine"]


async def test_everything_that_is_due_is_read_at_once_however_much_it_is(database: Database) -> None:
    bedroom = Bedroom(database)
    due = remind("", -1).due_at
    for number in range(25):
        # Some at the very same moment: what comes after a page is told by the id then.
        await bedroom.reminders.set(
            Reminder("sleeper", f"s{number}", "wake", due - timedelta(number // 10), {"n": number})
        )
    service = ReminderService(bedroom.reminders, bedroom.host, EVERYTHING, SystemClock(), most_at_once=4)
    await service.read()
    await bedroom.until_woken(25)
    await service.stop()
    assert sorted(n for _, _, n in bedroom.woken) == list(range(25))


async def test_no_more_are_in_memory_than_there_is_room_for(database: Database) -> None:
    bedroom = Bedroom(database)
    for number in range(30):
        await bedroom.reminders.set(remind(f"s{number}", -1, n=number))
    service = ReminderService(
        bedroom.reminders, bedroom.host, EVERYTHING, SystemClock(), most_at_once=5, most_in_memory=10
    )
    most = 0
    deliver = service._deliver

    def note(reminder: Reminder) -> None:
        nonlocal most
        most = max(most, len(service._waiting))
        deliver(reminder)

    service._deliver = note  # type: ignore[method-assign]
    await service.read()
    await bedroom.until_woken(30)
    await service.stop()
    assert most <= 14
    assert sorted(n for _, _, n in bedroom.woken) == list(range(30))


async def test_reminders_of_one_moment_are_ended_together_and_each_by_itself(database: Database) -> None:
    reminders = Reminders(database)
    first = [remind(f"s{number}", 0) for number in range(20)]
    for each in first:
        await reminders.set(each)
    moved = remind("s7", 3600)
    await reminders.set(moved)
    await asyncio.gather(*(reminders.done(each) for each in first))
    assert [each["_id"] async for each in database["reminders"].find({})] == [moved.id]
