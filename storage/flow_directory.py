"""The active flows of all merchants, in the memory of one process: every event asks for them.

A change stream over `flows` keeps them right, and everything is read anew whenever that stream has broken. It is known
up to which moment the stream has shown everything; where that is too long ago, whoever asks reads the flows of the
merchants concerned instead (`read`). So a look-up never shows what was true longer than `FRESH_S` ago: an event that
arrives later than that after a flow's activation was answered starts it, also while streams can't be had.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from pymongo.errors import PyMongoError

from domain.ended import ended
from domain.errors import Problem
from domain.flow_index import ActiveFlow, FlowIndex
from domain.flow_nodes import WaitForReply
from domain.flow_triggers import OnSchedule, OnSegmentEntered, ReEntry, read_trigger
from storage.changes import Changes, HistoryLost, Watched
from storage.client import Database, Document, Session

log = structlog.get_logger()

#: How old what a look-up shows may be.
FRESH_S = 3.0
#: How long what was read for lack of a stream is gone by.
_KEPT_S = 1.0
#: How long the server waits for a change before it says that there is none: what is known is twice that old at most.
_WAIT_MS = 1_400
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_FIELDS = dict.fromkeys(("merchantId", "accountId", "version", "status", "trigger", "reEntry", "nodes.type"), 1)
#: Triggers of flows whose own actor starts them.
_BY_THEMSELVES = frozenset({OnSchedule.kind, OnSegmentEntered.kind})


class FlowDirectory:
    """Answers with the active flows of a merchant, without a query."""

    def __init__(
        self,
        database: Database,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        noted: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Make a directory that knows nothing yet.

        Args:
            database: where the flows are.
            monotonic: the time in seconds.
            noted: is told of what is to be counted: `loaded`, `broke` (a stream), `read` (for lack of one), `invalid`
                (a flow that can't be gone by).
        """
        self._flows = database["flows"]
        self._versions = database["flowVersions"]
        self._changes = Changes(database, (Watched("flows", ("merchantId",), any_change=True),))
        self._monotonic = monotonic
        self._noted = noted
        self._merchants: dict[str, _Merchant] = {}
        self._merchant_of: dict[str, str] = {}
        self._seen = -math.inf
        self._read_at: dict[str, float] = {}
        self._pause_s = _FIRST_PAUSE_S
        self._alone = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to follow the flows."""
        self._task = asyncio.create_task(self._follow_for_ever())

    async def stop(self) -> None:
        """Follow them no more."""
        await ended(self._task)

    @property
    def is_fresh(self) -> bool:
        """Whether `of` shows what was true at most `FRESH_S` ago."""
        return self._monotonic() - self._seen <= FRESH_S

    def of(self, merchant_id: str) -> FlowIndex | None:
        """Return the flows of a merchant; None where it has none and no execution of one can wait for a reply."""
        merchant = self._merchants.get(merchant_id)
        return None if merchant is None else merchant.index(self._noted)

    def by_themselves(self) -> list[str]:
        """Return the ids of the active flows that no event starts: their actors do."""
        return [
            flow_id
            for merchant in self._merchants.values()
            for flow_id, flow in merchant.flows.items()
            if _type_of(flow.get("trigger")) in _BY_THEMSELVES
        ]

    async def read(self, merchant_ids: Collection[str]) -> None:
        """Read the flows of some merchants, unless that was done a moment ago; for when nothing is fresh.

        Raises:
            PyMongoError: when the database can't be reached.
        """
        now = self._monotonic()
        wanted = [each for each in merchant_ids if self._read_at.get(each, -math.inf) + _KEPT_S < now]
        if not wanted:
            return
        self._noted("read")
        async with self._alone:
            known: dict[str, _Merchant] = {}
            await self._into(known, {"$in": wanted})
            for merchant_id in wanted:
                former = self._merchants.pop(merchant_id, None)
                for flow_id in former.flows if former else ():
                    self._merchant_of.pop(flow_id, None)
            self._merchants |= known
            self._merchant_of |= {flow_id: name for name, each in known.items() for flow_id in each.flows}
            self._read_at.update(dict.fromkeys(wanted, now))

    async def _follow_for_ever(self) -> None:
        while True:
            try:
                await self._follow()
            except (PyMongoError, HistoryLost) as error:
                log.warning("flows.stream_broke", error=type(error).__name__)
            except Exception as error:
                # Without this loop the flows would have to be read with batches of events for ever.
                log.exception("flows.directory_broke", error=type(error).__name__)
            self._noted("broke")
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(_LONGEST_PAUSE_S, 2 * self._pause_s)

    async def _follow(self) -> None:
        async with self._changes.open(None, wait_ms=_WAIT_MS) as stream:
            asked = self._monotonic()
            await self._read_everything()
            self._seen = asked
            while True:
                asked = self._monotonic()
                change = await stream.next()
                if change is not None:
                    await self._read_again(change.id)
                    continue
                # The stream has shown everything that had happened when it was asked.
                self._seen, self._pause_s = asked, _FIRST_PAUSE_S
                self._read_at.clear()

    async def _read_everything(self) -> None:
        async with self._alone:
            known: dict[str, _Merchant] = {}
            await self._into(known, {"$gt": ""})
            self._merchants = known
            self._merchant_of = {flow_id: name for name, each in known.items() for flow_id in each.flows}
        self._noted("loaded")

    async def _read_again(self, flow_id: str) -> None:
        """Read a flow that has changed, as it is by now."""
        async with self._alone:
            flow = await self._flows.find_one({"_id": flow_id}, _FIELDS)
            merchant_id = self._merchant_of.get(flow_id) if flow is None else flow["merchantId"]
            if merchant_id is None:
                return
            merchant = self._merchants.setdefault(merchant_id, _Merchant())
            merchant.put(flow_id, flow)
            self._merchant_of[flow_id] = merchant_id
            if flow is None or flow["status"] != "active":
                del self._merchant_of[flow_id]
            if merchant.is_empty:
                del self._merchants[merchant_id]

    async def _into(self, known: dict[str, _Merchant], merchants: Document) -> None:
        """Read the flows of some merchants, and who of them has, or had, one that waits for replies."""
        async for flow in self._flows.find({"merchantId": merchants, "status": "active"}, _FIELDS):
            known.setdefault(flow["merchantId"], _Merchant()).put(flow["_id"], flow)
        # Executions go on with the version that they began with, whatever has become of the flow.
        of_those = {"merchantId": merchants, "nodes.type": WaitForReply.kind}
        async for version in self._versions.find(of_those, {"merchantId": 1}):
            known.setdefault(version["merchantId"], _Merchant()).may_listen = True


@dataclass(slots=True)
class _Merchant:
    """The documents of a merchant's active flows, and what is made of them once somebody asks."""

    flows: dict[str, Document] = field(default_factory=dict)
    may_listen: bool = False
    _index: FlowIndex | None = None

    @property
    def is_empty(self) -> bool:
        return not self.flows and not self.may_listen

    def put(self, flow_id: str, flow: Document | None) -> None:
        self._index = None
        if flow is not None and flow["status"] == "active":
            self.flows[flow_id] = flow
            self.may_listen = self.may_listen or _waits(flow)
        else:
            self.flows.pop(flow_id, None)

    def index(self, noted: Callable[[str], object]) -> FlowIndex:
        if self._index is None:
            self._index = FlowIndex(_sound(self.flows.values(), noted), may_listen=self.may_listen)
        return self._index


async def active_flows(
    database: Database, merchant_id: str, kinds: Collection[str], session: Session | None = None
) -> FlowIndex:
    """Return a merchant's active flows with triggers of some kinds, as they are now; for what happens seldom."""
    query = {"merchantId": merchant_id, "status": "active", "trigger.type": {"$in": sorted(kinds)}}
    found = await database["flows"].find(query, _FIELDS, session=session).to_list(None)
    return FlowIndex(_sound(found, lambda _: None))


def flow_of(flow: Mapping[str, Any]) -> ActiveFlow | None:
    """Return what is gone by of a flow's document; None, visibly, where it can't be."""
    try:
        return _active_flow(flow)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        log.warning("flows.unreadable", flow=flow["_id"], error=type(error).__name__)
        return None


def _sound(flows: Iterable[Document], noted: Callable[[str], object]) -> Iterator[ActiveFlow]:
    """Yield those flows that can be gone by; one that can't is left out, visibly, and keeps nobody else waiting."""
    for flow in flows:
        active = flow_of(flow)
        if active is None:
            noted("invalid")
        else:
            yield active


def _active_flow(flow: Mapping[str, Any]) -> ActiveFlow | None:
    problems: list[Problem] = []
    trigger = read_trigger(flow["trigger"], problems)
    if trigger is None or problems:
        log.warning("flows.invalid_trigger", flow=flow["_id"], fields=[problem.field for problem in problems])
        return None
    return ActiveFlow(
        flow["_id"], flow["version"], flow["accountId"], trigger, ReEntry(flow["reEntry"]), listens=_waits(flow)
    )


def _waits(flow: Mapping[str, Any]) -> bool:
    nodes = flow.get("nodes")
    return isinstance(nodes, list) and any(_type_of(node) == WaitForReply.kind for node in nodes)


def _type_of(part: object) -> object:
    return part.get("type") if isinstance(part, dict) else None
