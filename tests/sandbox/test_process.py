"""The simulated X as a process of its own, and what it remembers."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sandbox.journal import Journal
from sandbox.server import running
from tests.sandbox.model_client import client_of
from tests.sandbox.shop import BEARER, KEY, SECRET, Receiver, Shop, make_world, register

ROOT = Path(__file__).parents[2]


def message_id(body: dict[str, Any]) -> str:
    return str(body["direct_message_events"][0]["id"])


@asynccontextmanager
async def process(journal: Path, *, end: signal.Signals) -> AsyncIterator[str]:
    arguments = [f"--journal={journal}", f"--consumer-key={KEY}", f"--consumer-secret={SECRET}"]
    arguments += [f"--bearer-token={BEARER}", "--time-scale=0.001", "--answers=0", "--account-id=100"]
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert started.stdout is not None
    line = (await asyncio.wait_for(started.stdout.readline(), 60)).decode()
    assert line.startswith("sandbox listening on http://127.0.0.1:")
    try:
        yield line.split()[-1]
    finally:
        started.send_signal(end)
        code = await asyncio.wait_for(started.wait(), 30)
    assert code == (0 if end is signal.SIGTERM else -end)
    assert await started.stdout.read() == b""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_a_restarted_sandbox_remembers(
    tmp_path: Path, http: aiohttp.ClientSession, receiver: Receiver, end: signal.Signals
) -> None:
    journal = tmp_path / "sandbox.jsonl"
    async with process(journal, end=end) as base:
        shop = Shop(base, http)
        webhook_id = await register(shop, receiver)
        wanted = {"event_type": "follow.follow", "filter": {"user_id": "100"}, "webhook_id": webhook_id}
        await shop.call("POST", "/2/activity/subscriptions", wanted)
        await shop.control("POST", "accounts", {"id": "101"})
        await shop.control("POST", "say", {"from": "200", "to": "100", "text": "before"})
        sent = await shop.send("answer https://ex.test")
        before = await shop.control("GET", "messages")
    async with process(journal, end=signal.SIGTERM) as base:
        shop = Shop(base, http)
        assert await shop.control("GET", "messages") == before
        async with client_of(base) as client:
            assert [model.id async for model in client.models.list()]
        assert (await shop.control("GET", "state"))["subscriptions"] == {
            "account_activity": {"100": [webhook_id]},
            "x_activity": 1,
        }
        assert (await Shop(base, http, account_id="101").call("GET", "/2/users/me")).status == 200
        listed = (await shop.call("GET", "/2/dm_conversations/with/200/dm_events")).body["data"]
        assert listed[0]["id"] == sent.body["data"]["dm_event_id"]
        later = await shop.send("after")
        assert int(later.body["data"]["dm_event_id"]) > int(listed[0]["id"])
        await receiver.wait_until(lambda bodies: later.body["data"]["dm_event_id"] in map(message_id, bodies))


async def test_what_was_removed_stays_removed(tmp_path: Path, http: aiohttp.ClientSession, receiver: Receiver) -> None:
    journal = tmp_path / "sandbox.jsonl"
    async with running(make_world(journal=journal)) as base:
        shop = Shop(base, http)
        webhook_id = await register(shop, receiver)
        await shop.call("DELETE", f"/2/webhooks/{webhook_id}", app=True)
        await shop.control("POST", "events", {"kind": "revoke", "account": "100"})
    async with running(make_world(journal=journal)) as base:
        shop = Shop(base, http)
        state = await shop.control("GET", "state")
        assert state["webhooks"] == []
        assert state["subscriptions"]["account_activity"] == {}
        assert (await shop.call("GET", "/2/users/me")).status == 401


async def test_ids_go_on_growing_after_a_restart_though_the_clock_stands_still(tmp_path: Path) -> None:
    class Standing:
        def now(self) -> datetime:
            return datetime(2026, 11, 2, tzinfo=UTC)

    ids = []
    for _ in range(2):
        world = make_world(journal=tmp_path / "sandbox.jsonl", clock=Standing(), customers=0)
        async with world.running():
            ids += [world.say("200", "100", "hi").id for _ in range(2)]
    assert len(set(ids)) == 4
    assert ids == sorted(ids, key=int)


def test_a_line_that_a_kill_cut_off_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "sandbox.jsonl"
    journal = Journal(path)
    journal.append("shop", {"id": "101"})
    journal.close()
    with path.open("ab") as file:
        file.write(b'{"kind":"shop","da')
    assert list(journal.read()) == [("shop", {"id": "101"})]
    journal.append("shop", {"id": "102"})
    journal.close()
    assert [data["id"] for _, data in Journal(path).read()] == ["101", "102"]


async def test_unknown_paths_are_refused_in_the_words_of_each_version(shop: Shop) -> None:
    new = await shop.call("GET", "/2/nothing")
    assert (new.status, new.body["status"]) == (404, 404)
    old = await shop.call("GET", "/1.1/nothing.json")
    assert (old.status, old.body["errors"][0]["code"]) == (404, 34)


async def test_wrong_control_requests_are_told_why(shop: Shop) -> None:
    wrong = {
        "accounts": {"id": "x"},
        "say": {"from": "200", "to": "100"},
        "events": {"kind": "flood", "account": "100"},
        "limits": {"rules": {"flood": {}}},
        "behaviour": {"subscription_shape": "round"},
        "load": {"count": 5},
        "webhooks/7": {"valid": True},
    }
    for path, body in wrong.items():
        async with shop.http.post(f"{shop.base}/sandbox/{path}", json=body) as response:
            assert response.status == 400, path
            assert (await response.json())["error"]
