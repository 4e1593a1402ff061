"""Campaigns at full speed: the snapshot of an audience, messages a second, and memory while many recipients wait.

The whole program (`run.py serve`, embedded database, a host a core) with a stub X in a process of its own that answers
at once or after 150 ms. Every message is counted there: once for each recipient, or the command ends with code 1.
Run as `python -m bench.campaigns`; `--quick` takes small numbers and one round.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import orjson

from bench.campaign import bare
from bench.campaign.audience import Merchant, add_contacts, make_merchant
from bench.campaign.stage import Stage, open_stage
from bench.machine import describe
from bench.peers.peer import PeerFailed
from bench.running import run

_SLOW_S = 0.15
_RUN_S = 300.0
_SNAPSHOT_ACCOUNTS = 100
#: Accounts whose campaign goes on while memory is watched, and what X takes for a message meanwhile.
_FEW_ACCOUNTS, _SLEEPY_S = 20, 1.0
_SAMPLE_S = 0.5
#: Connections of X that all hosts have together (actors/clients/x_transport.py), which the plain client has too.
_CONNECTIONS_A_HOST = 100
_BARE_CALLS = 4_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int
    snapshot: int
    accounts: int
    each: int
    alone: int
    audiences: tuple[int, ...]
    watched_s: float


@dataclass(slots=True)
class Report:
    """Figures by name, a value a round; `wrong` says what must not be."""

    figures: dict[str, list[float]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def add(self, name: str, value: float, note: str = "") -> None:
        """Keep a figure, and print it."""
        self.figures.setdefault(name, []).append(value)
        print(f"{name:58} {value:10,.1f} {note}", flush=True)

    def medians(self) -> dict[str, float]:
        """Return the median of each figure."""
        return {name: round(median(values), 2) for name, values in self.figures.items()}


async def merchant(stage: Stage, number: int, accounts: int, contacts: int, *, talking: bool) -> Merchant:
    """Make a merchant with contacts, who have open conversations where they are `talking`."""
    made = await make_merchant(stage.database, number, accounts=accounts, contacts=contacts)
    await asyncio.to_thread(add_contacts, stage.uri, made, with_conversations=talking)
    return made


async def snapshot(stage: Stage, audience: Merchant) -> tuple[str, float]:
    """Start a campaign and pause it once its audience is written down; returns its run and recipients/s."""
    campaign_id = await stage.campaign(audience)
    begun = time.perf_counter()
    await stage.start(audience, campaign_id)
    found = await stage.until_run(campaign_id, "running", "completed", seconds=_RUN_S)
    rate = audience.contacts / (time.perf_counter() - begun)
    await stage.ask(audience, "POST", f"/campaigns/{campaign_id}/pause")
    await stage.until_quiet()
    return found["_id"], rate


async def snapshots(stage: Stage, sizes: Sizes, report: Report) -> None:
    """Measure the snapshot, beside what inserting the same documents takes."""
    audience = await merchant(stage, 1, _SNAPSHOT_ACCOUNTS, sizes.snapshot, talking=False)
    await stage.begin_x(0.0)
    for _ in range(sizes.rounds):
        run_id, rate = await snapshot(stage, audience)
        report.add("snapshot, recipients/s", rate)
        plain = await asyncio.to_thread(bare.recipients_rate, stage.uri, run_id, sizes.snapshot)
        report.add("the same documents by insert_many, /s", plain)


async def messages(stage: Stage, audience: Merchant, name: str, delay: float, report: Report) -> str:
    """Run a campaign to its end and check that everybody got one message; returns its id."""
    campaign_id = await stage.campaign(audience)
    await stage.begin_x(delay)
    before, begun = stage.cpu(), time.monotonic()
    await stage.start(audience, campaign_id)
    await stage.until_run(campaign_id, "completed", seconds=_RUN_S)
    whole, after = time.monotonic() - begun, stage.cpu()
    seen = await stage.seen_by_x()
    spent = ", ".join(f"{who} {(after[who] - before[who]) * 1e6 / audience.contacts:,.0f}" for who in after)
    report.add(
        name,
        seen["calls"] / seen["seconds"],
        f"(to its end {whole:.1f} s; at X at once {seen['mostUnderWay']}; µs a message: {spent})",
    )
    sent = await stage.database.campaignRecipients.count_documents({"campaignId": campaign_id, "status": "sent"})
    if {seen["calls"], seen["people"], sent} != {audience.contacts} or seen["twice"]:
        report.wrong.append(f"{name}: {audience.contacts} recipients, sent {sent}, X saw {seen}")
    return campaign_id


async def throughput(stage: Stage, sizes: Sizes, report: Report) -> None:
    """Measure messages a second through many accounts and through one, beside the stub X and the database alone."""
    many = await merchant(stage, 2, sizes.accounts, sizes.accounts * sizes.each, talking=True)
    one = await merchant(stage, 3, 1, sizes.alone, talking=True)
    connections = _CONNECTIONS_A_HOST * len(stage.hosts())
    for _ in range(sizes.rounds):
        title = f"{sizes.accounts:,} accounts"
        campaign_id = await messages(stage, many, f"{title}, X at once, messages/s", 0.0, report)
        plain = await asyncio.to_thread(bare.messages_rate, stage.uri, campaign_id, many.contacts)
        report.add("inserted, claimed, confirmed by bulk_write, /s", plain)
        await stage.begin_x(0.0)
        report.add("stub X at once, plain client, calls/s", await _stub(stage, connections))
        await messages(stage, many, f"{title}, X after 150 ms, messages/s", _SLOW_S, report)
        await stage.begin_x(_SLOW_S)
        report.add("stub X after 150 ms, plain client, calls/s", await _stub(stage, connections))
        await messages(stage, one, "one account, X at once, messages/s", 0.0, report)
    few = await merchant(stage, 4, 1, sizes.alone // 5, talking=True)
    await messages(stage, few, "one account, X after 150 ms, messages/s", _SLOW_S, report)


async def _stub(stage: Stage, connections: int) -> float:
    return await bare.stub_rate(stage.x_url, _BARE_CALLS, connections)


async def memory(stage: Stage, sizes: Sizes, report: Report) -> None:
    """Watch the hosts' memory before, during and after campaigns that go on as slowly as X lets them."""
    for number, size in enumerate(sizes.audiences):
        audience = await merchant(stage, 10 + number, _FEW_ACCOUNTS, size, talking=False)
        await stage.begin_x(_SLEEPY_S)
        name = f"memory of the hosts, {size:,} recipients"
        report.add(f"{name}, before, MB", stage.memory())
        campaign_id = await stage.campaign(audience)
        written, highest = await _watched(stage, _write_down(stage, audience, campaign_id))
        report.add(f"{name}, most while written down, MB", highest, f"({size / written:,.0f} recipients/s)")
        _, highest = await _watched(stage, asyncio.sleep(sizes.watched_s))
        seen = await stage.seen_by_x()
        waiting = await stage.database.campaignRecipients.count_documents({"campaignId": campaign_id, "open": True})
        report.add(f"{name}, most while it runs, MB", highest, f"({seen['calls']} sent, {waiting:,} wait)")
        if not seen["calls"] or not waiting:
            report.wrong.append(f"{name}: {seen['calls']} sent, {waiting} wait: it did not run")
        await stage.ask(audience, "POST", f"/campaigns/{campaign_id}/pause")
        await stage.until_quiet()
        report.add(f"{name}, after, MB", stage.memory())


async def _write_down(stage: Stage, audience: Merchant, campaign_id: str) -> None:
    await stage.start(audience, campaign_id)
    await stage.until_run(campaign_id, "running", seconds=_RUN_S)


async def _watched(stage: Stage, work: Coroutine[None, None, None]) -> tuple[float, float]:
    """Return the seconds that some work took, and the most memory that the hosts had meanwhile."""
    begun = time.perf_counter()
    task = asyncio.create_task(work)
    highest = 0.0
    while not task.done():
        highest = max(highest, await asyncio.to_thread(stage.memory))
        await asyncio.wait([task], timeout=_SAMPLE_S)
    await task
    return time.perf_counter() - begun, highest


PARTS: Mapping[str, Callable[[Stage, Sizes, Report], Awaitable[None]]] = {
    # First, while the hosts are as small as they are after a start.
    "memory": memory,
    "snapshot": snapshots,
    "messages": throughput,
}


def ratios(medians: Mapping[str, float], accounts: int) -> dict[str, float]:
    """Return the figures against the limits of the same run."""
    title = f"{accounts:,} accounts"
    at_once, slow = f"{title}, X at once, messages/s", f"{title}, X after 150 ms, messages/s"
    pairs = {
        "snapshot to insert_many": ("snapshot, recipients/s", "the same documents by insert_many, /s"),
        "X at once, to bulk_write": (at_once, "inserted, claimed, confirmed by bulk_write, /s"),
        "X at once, to the stub X": (at_once, "stub X at once, plain client, calls/s"),
        "X after 150 ms, to the stub X": (slow, "stub X after 150 ms, plain client, calls/s"),
    }
    return {
        name: round(medians[own] / medians[limit], 3)
        for name, (own, limit) in pairs.items()
        if own in medians and limit in medians
    }


async def _run(options: argparse.Namespace) -> int:
    report, sizes = Report(), _sizes(options)
    with tempfile.TemporaryDirectory(prefix="bench-campaigns-") as folder:
        try:
            async with open_stage(Path(folder)) as stage:
                print(f"{len(stage.hosts())} hosts", flush=True)
                for name, part in PARTS.items():
                    if not options.only or name in options.only:
                        await part(stage, sizes, report)
        except PeerFailed as error:
            report.wrong.append(str(error))
    medians = report.medians()
    found = {
        "machine": describe(),
        "medians": medians,
        "ratios": ratios(medians, sizes.accounts),
        "runs": report.figures,
        "wrong": report.wrong,
    }
    shown = {name: found[name] for name in ("machine", "medians", "ratios", "wrong")}
    print(orjson.dumps(shown, option=orjson.OPT_INDENT_2).decode())
    if options.output:
        await asyncio.to_thread(options.output.write_bytes, orjson.dumps(found, option=orjson.OPT_INDENT_2))
    return 1 if report.wrong else 0


def _sizes(options: argparse.Namespace) -> Sizes:
    if options.quick:
        return Sizes(1, 20_000, 100, 20, 200, (2_000, 20_000), 3.0)
    return Sizes(options.rounds, 200_000, 1_000, 20, 2_000, tuple(options.audiences), 10.0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, one round")
    parser.add_argument("--rounds", type=int, default=1, help="of snapshot and messages")
    parser.add_argument("--audiences", type=int, nargs="*", default=[50_000, 500_000], help="sizes for the memory")
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=[], help="what is measured")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run(_run(_options())))
