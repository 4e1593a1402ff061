"""What tests of many sends under fire share: the ways in which X fails, and calls that get through all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import orjson

from tests.program.running_program import PATIENCE_S, Program, SimulatedX

X_TIMEOUT_S = 3
SEND_PATH = "/2/dm_conversations/with/[0-9]+/messages$"
#: A window that is full for a second; what X told of it before would otherwise hold until that one's end.
ROOM_LEFT = {"x-rate-limit-limit": "1000000", "x-rate-limit-remaining": "500000"}
#: Every way in which X can fail one send: unperformed, performed without an answer, late, refused.
FAULTS: list[dict[str, object]] = [
    {"kind": "drop"},
    {"kind": "reset"},
    {"kind": "accept_then_drop"},
    {"kind": "accept_then_500"},
    {"kind": "accept_then_slow", "seconds": X_TIMEOUT_S + 1},
    {"kind": "slow", "seconds": 1},
    {"kind": "slow", "seconds": X_TIMEOUT_S + 1},
    {"kind": "echo_before_response"},
    {"kind": "error", "error": "InternalServerError"},
    {"kind": "error", "error": "ServiceUnavailable"},
    {"kind": "error", "error": "TooManyRequests", "seconds": 1, "headers": ROOM_LEFT},
    {"kind": "error", "error": "NoPermissionToMessage"},
    {"kind": "error", "code": 50},
    {"kind": "error", "status": 400, "body": {"title": "Invalid Request", "detail": "No."}},
    {"kind": "error", "status": 502, "body": "<html>Bad gateway</html>"},
]
#: What a recipient may have failed for: X refused this very message, or never showed one whose answer was lost.
REASONS = {"recipient_refuses_messages", "recipient_not_found", "refused", "ambiguous"}
#: Every way in which X refuses an account as a whole, by the reason that it is told by.
ACCOUNT_FAULTS: dict[str, dict[str, object]] = {
    "looks_automated": {"kind": "error", "code": 226},
    "account_locked": {"kind": "error", "code": 326},
    "account_suspended": {"kind": "error", "code": 64},
    "tokens_refused": {"kind": "error", "error": "Unauthorized"},
    "credits_depleted": {"kind": "error", "error": "CreditsDepleted"},
}
PARTS = ["host", "gateway", "mongod", "program"]


@asynccontextmanager
async def under_fire(session: aiohttp.ClientSession, folder: Path, x: SimulatedX) -> AsyncIterator[Program]:
    """Run a program whose limits hold nobody up, and that learns soon what became of a send."""
    settings = {
        "MKTX_X_MESSAGES_PER_DAY": "100000",
        "MKTX_X_CAMPAIGN_MESSAGES_PER_DAY": "100000",
        "MKTX_X_TIMEOUT_S": str(X_TIMEOUT_S),
        # Longer than any send may be late, so that a message that is given up is certainly not in X.
        "MKTX_X_SETTLE_TIMEOUT_S": "10",
    }
    program = Program(session, folder, x, **settings)
    await program.start()
    await program.until_ready()
    await program.login()
    yield program
    await program.stop()
    await program.until_nothing_is_left()


async def break_sends(x: SimulatedX) -> None:
    """Have X fail one in fifty sends in each of its ways."""
    for fault in FAULTS:
        await x.order("faults", {"match": SEND_PATH, "probability": 0.02, **fault})


async def called(program: Program, method: str, path: str, body: object = None) -> dict[str, Any]:
    """Return what a call answers, repeated until it is answered, under the same idempotency key."""
    key = uuid4().hex
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                headers = {} if method == "GET" else {"Idempotency-Key": key}
                status, answer = await program.api(method, path, body, **headers)
            except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError):
                status, answer = 503, {}
            if status == 200:
                return dict(answer["data"])
            assert status in {409, 429, 500, 503}, (path, status, answer)
            await asyncio.sleep(0.2)


async def connect(program: Program, shop: str) -> str:
    """Connect an account of X; returns its id."""
    tokens = {"oauthToken": f"sandbox-token-{shop}", "oauthTokenSecret": f"sandbox-secret-{shop}"}
    return str((await called(program, "POST", "/accounts", tokens))["id"])


async def import_contacts(program: Program, x: SimulatedX, account_id: str, people: Iterable[str]) -> None:
    """Make people of X known to an account, as `user` and their id."""
    rows: list[str] = []
    for person in people:
        await x.order("customers", {"id": person, "username": f"user{person}"})
        rows.append(f"{person},user{person}\n")
    body = {"accountId": account_id, "format": "csv", "content": f"twitterUserId,username\n{''.join(rows)}"}
    job = await called(program, "POST", "/contacts/import", body)
    async with asyncio.timeout(PATIENCE_S):
        while job["status"] != "completed":
            await asyncio.sleep(0.1)
            job = await called(program, "GET", f"/contacts/imports/{job['id']}")
    assert job["counts"]["created"] == job["total"]
