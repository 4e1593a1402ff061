"""What a plain GET costs: `GET /contacts/{id}` of the program against the same read in bare aiohttp and PyMongo.

Both answer the same document of the same `mongod`, each from one process on uvloop, in turn: what the program does
besides (token, standing, call limit, request id, metrics, the models of the answer) is the difference. The cost is the
processor time of the serving process a call, so that what the database and the load driver take beside it does not
blur it; the rate is the answers a second. Run as `python -m bench.plain_get`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

import aiohttp
import orjson
import psutil
from pymongo import AsyncMongoClient

from bench.arguments import Arguments, parse
from bench.load.get_loop import load
from bench.machine import describe
from bench.peers.ours import API, DATABASE, Ours, access_token
from bench.peers.peer import PeerFailed, Processes, free_ports
from bench.running import run

_FEW = 32
_WARM_UP_S = 2
_ATTRIBUTES = {"purchaseCount": 5, "totalSpent": 1250000, "lastPurchaseDate": "2026-01-15", "preferredLanguage": "vi"}
_PERSON = {"twitterUserId": "987654321", "username": "customer_john", "displayName": "John Doe"}
OURS, BARE = "this program", "bare"


@dataclass(frozen=True, slots=True)
class Served:
    """Where a server answers the document, and the process that does it."""

    url: str
    headers: Mapping[str, str]
    pid: int


async def measure(served: Served, seconds: float, connections: int) -> dict[str, float]:
    """Return answers a second, their latency, and microseconds of the server's processor an answer.

    Raises:
        PeerFailed: when one is refused.
    """
    process = psutil.Process(served.pid)
    before = process.cpu_times()
    found = await load(served.url, served.headers, seconds=seconds, connections=connections)
    after = process.cpu_times()
    if not found.clean:
        raise PeerFailed(f"{served.url}: {found.refused} answers were no 2xx, {found.broken} connections failed")
    spent_s = after.user + after.system - before.user - before.system
    return {
        "per_second": found.per_second,
        "p50_ms": found.p50_ms,
        "p95_ms": found.p95_ms,
        "processor_us": spent_s / found.answered * 1e6,
    }


async def _contact(port: int, headers: Mapping[str, str]) -> str:
    """Make the contact that is read, and return its id."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as session:
        async with session.get(f"{API}/accounts") as answer:
            account_id = (await answer.json())["data"][0]["id"]
        body = {**_PERSON, "accountId": account_id, "tags": ["vip", "customer"], "attributes": _ATTRIBUTES}
        async with session.post(f"{API}/contacts", json=body) as answer:
            if not answer.ok:
                raise PeerFailed(f"the contact was refused: {(await answer.text())[:300]}")
            return str((await answer.json())["data"]["id"])


async def _serve(program: Ours, peer: Processes) -> dict[str, Served]:
    port, peer_port = free_ports(2)
    await program.start(port)
    headers = {"Authorization": f"Bearer {await access_token(port)}"}
    contact_id = await _contact(port, headers)
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(program.mongodb_uri())
    async with client:
        contact = await client[DATABASE].contacts.find_one({"_id": contact_id})
    if contact is None:
        raise PeerFailed("the contact is not in the database")
    options = {"port": peer_port, "mongodb": program.mongodb_uri(), "database": DATABASE}
    options["merchant"] = contact["merchantId"]
    peer.spawn_module("bench.peers.plain_get", *(f"--{name}={value}" for name, value in options.items()))
    await peer.until_listening(peer_port)
    return {
        BARE: Served(f"http://127.0.0.1:{peer_port}/contacts/{contact_id}", headers, peer.pids[0]),
        OURS: Served(f"http://127.0.0.1:{port}{API}/contacts/{contact_id}", headers, _listener(program.pid, port)),
    }


def _listener(pid: int, port: int) -> int:
    """Return the process below `pid` that listens on a port."""
    for process in psutil.Process(pid).children(recursive=True):
        listening = (each for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN)
        if any(each.laddr.port == port for each in listening):
            return int(process.pid)
    raise PeerFailed("no process of the program listens on its port")


async def _rounds(arguments: Arguments, servers: Mapping[str, Served]) -> dict[int, dict[str, list[dict[str, float]]]]:
    figures: dict[int, dict[str, list[dict[str, float]]]] = {}
    for served in servers.values():
        await measure(served, _WARM_UP_S, _FEW)
    for number in range(arguments.rounds):
        for connections in (_FEW, arguments.connections):
            for name, served in servers.items():
                found = await measure(served, arguments.seconds, connections)
                figures.setdefault(connections, {}).setdefault(name, []).append(found)
                line = ", ".join(f"{key} {value:,.1f}" for key, value in found.items())
                print(f"round {number + 1}  {connections:4}  {name:13} {line}", flush=True)
    return figures


async def _run(arguments: Arguments) -> int:
    program, peer = Ours(settings={"MKTX_API_CALLS_PER_MINUTE": "10000000"}), Processes("plain-get")
    try:
        figures = await _rounds(arguments, await _serve(program, peer))
    except PeerFailed as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        await peer.stop()
        await program.stop()
    medians = {
        connections: {
            name: {key: round(median(each[key] for each in found), 2) for key in found[0]}
            for name, found in by_name.items()
        }
        for connections, by_name in figures.items()
    }
    ratios = {
        connections: {
            "time": round(found[BARE]["per_second"] / found[OURS]["per_second"], 2),
            "processor": round(found[OURS]["processor_us"] / found[BARE]["processor_us"], 2),
        }
        for connections, found in medians.items()
    }
    report = {"machine": describe(), "medians": medians, "ratios": ratios, "rounds": figures}
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS
    print(orjson.dumps({"medians": medians, "ratios": ratios}, option=options).decode())
    if arguments.output:
        await asyncio.to_thread(arguments.output.write_bytes, orjson.dumps(report, option=options))
    return 0


if __name__ == "__main__":
    sys.exit(run(_run(parse(__doc__ or "", seconds=5))))
