"""Flows that wait: how late those are that are due, how many wake a second, and memory while very many wait.

The whole program (`run.py serve`, embedded database, a host a core). Executions of one flow are written down as waiting
for a year; some of them are due within a minute, evenly spread. Each wakes, gets a tag, and ends. Lateness is from the
moment that an execution waited for to the step that went on, as its history has it. Run as `python -m bench.flow_time`;
`--quick` takes small numbers.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles

import orjson
from pymongo import MongoClient

from bench.campaign.audience import Merchant, add_contacts, make_merchant
from bench.campaign.stage import Stage, open_stage
from bench.machine import describe
from bench.million.data_folder import DATABASE, insert
from bench.peers.peer import PeerFailed
from bench.running import run
from domain.reminder import Reminder
from storage.client import Document
from storage.flow_documents import EXECUTOR
from storage.reminders import reminder_fields

#: From writing the reminders to the first that is due.
_AHEAD_S = 20.0
_LONGEST_WAIT_S = 600.0
_POLL_S = 0.5
_YEAR = timedelta(days=365)
_NODES = [
    {"id": "pause", "type": "wait", "config": {"duration": 31_536_000}},
    {"id": "tag", "type": "add_tag", "config": {"tag": "woken"}},
]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many executions wait, how many of them are due, and within how many seconds."""

    waiting: int
    due: int
    within_s: float


async def make_flow(stage: Stage, merchant: Merchant) -> str:
    """Make and activate the flow; returns its id."""
    fields = {
        "name": "Bench",
        "trigger": {"type": "manual", "config": {}},
        "nodes": _NODES,
        "connections": [{"fromNodeId": "pause", "toNodeId": "tag"}],
    }
    flow = await stage.ask(merchant, "POST", "/automation/flows", fields)
    await stage.ask(merchant, "POST", f"/automation/flows/{flow['id']}/activate")
    return str(flow["id"])


def write_down(uri: str, merchant: Merchant, flow_id: str, sizes: Sizes) -> datetime:
    """Write the executions and their reminders; returns when the first is due."""
    with MongoClient[Document](uri, tz_aware=True) as client:
        database = client[DATABASE]
        contacts = list(database.contacts.find({"merchantId": merchant.id}, {"accountId": 1}))
        now = datetime.now(UTC)
        insert(database.flowExecutions, (_execution(each, merchant, flow_id, now + _YEAR, now) for each in contacts))
        insert(database.reminders, _reminders(database.flowExecutions.find({"flowId": flow_id}), now + _YEAR))
        first = datetime.now(UTC) + timedelta(seconds=_AHEAD_S)
        spread = timedelta(seconds=sizes.within_s / sizes.due)
        for number, contact in enumerate(contacts[: sizes.due]):
            due, execution_id = first + number * spread, f"{flow_id}|{contact['_id']}"
            database.flowExecutions.update_one({"_id": execution_id}, {"$set": {"state.waiting.until": due}})
            database.reminders.update_one(
                {"_id": f"{EXECUTOR}|{contact['_id']}|{execution_id}"}, {"$set": {"dueAt": due}}
            )
    return first


def _execution(contact: Document, merchant: Merchant, flow_id: str, until: datetime, now: datetime) -> Document:
    state = {"depth": 0, "visit": 1, "attempt": 0, "variables": {}, "heard": [], "unheard": None, "failure": None}
    entry = {"nodeId": "pause", "visit": 1, "outcome": "waiting", "at": now, "branch": None, "error": None}
    return {
        "_id": f"{flow_id}|{contact['_id']}",
        "merchantId": merchant.id,
        "accountId": contact["accountId"],
        "contactId": contact["_id"],
        "flowId": flow_id,
        "version": 1,
        "status": "running",
        "currentNodeId": "pause",
        "startedAt": now,
        "completedAt": None,
        "updatedAt": now,
        "state": {**state, "waiting": {"reason": "time", "until": until}},
        "history": [entry],
        "revision": 1,
    }


def _reminders(executions: Iterable[Document], due: datetime) -> Iterator[Document]:
    for each in executions:
        reminder = Reminder(EXECUTOR, each["contactId"], each["_id"], due)
        yield {"_id": reminder.id, **reminder_fields(reminder)}


async def until_over(stage: Stage, flow_id: str, due: int) -> list[Document]:
    """Wait until as many executions are over as are due, and return them.

    Raises:
        PeerFailed: when that is not so in time.
    """
    deadline = time.monotonic() + _LONGEST_WAIT_S
    query = {"flowId": flow_id, "status": {"$ne": "running"}}
    while await stage.database.flowExecutions.count_documents(query) < due:
        if time.monotonic() > deadline:
            raise PeerFailed(f"not all of {due} executions ended in {_LONGEST_WAIT_S:.0f} s")
        await asyncio.sleep(_POLL_S)
    return await stage.database.flowExecutions.find(query).to_list(None)


async def measure(stage: Stage, sizes: Sizes) -> dict[str, float]:
    """Return the figures."""
    merchant = await make_merchant(stage.database, 1, accounts=100, contacts=sizes.waiting)
    await asyncio.to_thread(add_contacts, stage.uri, merchant, with_conversations=False)
    before = stage.memory()
    flow_id = await make_flow(stage, merchant)
    first = await asyncio.to_thread(write_down, stage.uri, merchant, flow_id, sizes)
    waiting = stage.memory()
    query = {"dueAt": {"$lt": first + timedelta(seconds=sizes.within_s + 1)}, "kind": EXECUTOR}
    due_at = {each["name"]: each["dueAt"] async for each in stage.database.reminders.find(query)}
    highest, begun = waiting, stage.cpu()
    over = asyncio.create_task(until_over(stage, flow_id, sizes.due))
    while not over.done():
        highest = max(highest, await asyncio.to_thread(stage.memory))
        await asyncio.wait([over], timeout=1.0)
    executions, spent = await over, stage.cpu()
    left = {each["_id"]: next(e["at"] for e in each["history"] if e["outcome"] == "done") for each in executions}
    late = sorted((left[name] - due).total_seconds() for name, due in due_at.items() if name in left)
    whole = (max(left.values()) - min(left.values())).total_seconds()
    cuts = quantiles(late, n=100)
    return {
        "woken": len(late),
        "lateness p50, s": round(cuts[49], 3),
        "lateness p99, s": round(cuts[98], 3),
        "lateness most, s": round(late[-1], 3),
        "wakes/s": round(len(late) / whole, 1) if whole else 0.0,
        "hosts, µs a wake": round((spent["hosts"] - begun["hosts"]) * 1e6 / len(late)),
        "memory of the hosts before, MB": round(before, 1),
        "memory while all wait, MB": round(waiting, 1),
        "memory at most while they wake, MB": round(highest, 1),
        "memory after, MB": round(stage.memory(), 1),
    }


async def _run(options: argparse.Namespace) -> int:
    sizes = Sizes(2_000, 500, 5.0) if options.quick else Sizes(options.waiting, options.due, options.within)
    with tempfile.TemporaryDirectory(prefix="bench-flow-time-") as folder:
        try:
            async with open_stage(Path(folder)) as stage:
                figures = await measure(stage, sizes)
        except PeerFailed as error:
            print(error)
            return 1
    found = {"machine": describe(), "figures": figures}
    print(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
    if options.output:
        await asyncio.to_thread(options.output.write_bytes, orjson.dumps(found, option=orjson.OPT_INDENT_2))
    return 0 if figures["woken"] == sizes.due else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers")
    parser.add_argument("--waiting", type=int, default=100_000, help="executions that wait")
    parser.add_argument("--due", type=int, default=10_000, help="how many of them are due")
    parser.add_argument("--within", type=float, default=60.0, help="seconds within which they are due")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run(_run(_options())))
