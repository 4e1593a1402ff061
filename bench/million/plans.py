"""How the database answered: what its profiler noted of the operations of one request, and the plans by `explain`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pymongo.asynchronous.database import AsyncDatabase

Database = AsyncDatabase[dict[str, Any]]

_COLLECTION = "contacts"
_FIND_FIELDS = ("find", "filter", "sort", "skip", "limit", "projection", "hint")
_AGGREGATE_FIELDS = ("aggregate", "pipeline", "cursor", "hint")


@dataclass(frozen=True, slots=True)
class Operation:
    """One read of the contacts: the index and the stages of its plan, what it looked at, how long it took."""

    kind: str
    index: str
    stages: tuple[str, ...]
    keys: int
    documents: int
    milliseconds: int

    def __str__(self) -> str:
        looked_at = f"{self.keys:,} keys, {self.documents:,} documents, {self.milliseconds} ms"
        return f"{self.kind}: {'←'.join(self.stages)} {self.index}; {looked_at}"


class Watched:
    """What was noted while it was watched."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []


@asynccontextmanager
async def watched(database: Database) -> AsyncIterator[Watched]:
    """Note every read of the contacts until the end of the block, and explain it then."""
    found = Watched()
    await database.command({"profile": 0})
    await database.drop_collection("system.profile")
    await database.command({"profile": 2, "filter": {"ns": f"{database.name}.{_COLLECTION}"}})
    try:
        yield found
    finally:
        await database.command({"profile": 0})
    async for entry in database["system.profile"].find({"op": {"$in": ["query", "command"]}}):
        # The profiler's own filter lets other collections pass at times.
        if _COLLECTION in (entry["command"].get("find"), entry["command"].get("aggregate")):
            found.operations.append(await _operation(database, entry))


async def _operation(database: Database, entry: dict[str, Any]) -> Operation:
    command = entry["command"]
    fields = _FIND_FIELDS if "find" in command else _AGGREGATE_FIELDS
    asked = {name: command[name] for name in fields if name in command}
    explained = await database.command("explain", asked, verbosity="queryPlanner")
    return Operation(
        kind=fields[0],
        index=str(entry.get("planSummary", "")),
        stages=tuple(dict.fromkeys(_stages(explained))),
        keys=int(entry.get("keysExamined", 0)),
        documents=int(entry.get("docsExamined", 0)),
        milliseconds=int(entry.get("millis", 0)),
    )


def _stages(explained: object) -> Iterator[str]:
    """Yield the stages of the winning plan, the outermost first."""
    match explained:
        case {"winningPlan": {"queryPlan": plan}} | {"winningPlan": plan}:
            yield from _named(plan)
        case dict():
            for inner in explained.values():
                yield from _stages(inner)
        case list():
            for inner in explained:
                yield from _stages(inner)


def _named(plan: dict[str, Any]) -> Iterator[str]:
    yield str(plan["stage"])
    for inner in (plan.get("inputStage"), *plan.get("inputStages", ())):
        if inner:
            yield from _named(inner)
