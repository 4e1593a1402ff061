"""Spans and where they come from; and that nothing at all is done about them while they are off."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from actors.ingestor import Ingestor
from actors.runtime.actor import Actor
from actors.runtime.host import ActorHost
from actors.runtime.system import LocalActors
from actors.runtime.wire import Call, decode_calls, encode_calls
from config.environment import ROOT
from config.logs import _of_request
from config.origin import REQUEST, Origin, kept_origin, origin, working_for
from config.settings import Settings
from config.tracing import close_tracing, configure_tracing, is_tracing, span, traceparent, under
from domain.lone_message import LoneMessage
from storage.client import Client, Database
from storage.inbox import Inbox, entry_of, event_of, traced, traces_of
from tests.collector import Collector, collecting
from tests.storage.arrivals import START, Clock, connect, ingest_of, message

LOAD = """
import sys
from config.settings import Settings
from config.tracing import configure_tracing, span, traceparent, under
import actors.host_services, gateway.app, program.gateway_process
configure_tracing(Settings(), process="p")
with span("a"), under(""):
    assert traceparent() == ""
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""


@pytest.fixture
async def collector(settings: Settings) -> AsyncIterator[Collector]:
    async with collecting() as collector:
        configure_tracing(settings.model_copy(update={"tracing_endpoint": collector.url}), process="test")
        yield collector
        await asyncio.to_thread(close_tracing)


async def flush() -> None:
    await asyncio.to_thread(close_tracing)


# --- off


def test_while_it_is_off_nothing_of_it_is_loaded() -> None:
    done = subprocess.run([sys.executable, "-c", LOAD], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_while_it_is_off_a_span_is_nothing_and_nothing_is_kept() -> None:
    assert not is_tracing()
    assert span("a") is span("b", links=["c"], key="d")
    with span("a"):
        assert traceparent() == ""
    assert origin() is None
    assert kept_origin() == {}


# --- on


async def test_spans_are_nested_and_errors_are_told_by_their_class_alone(collector: Collector) -> None:
    with pytest.raises(ValueError, match="secret"), span("outer"), span("inner", key="value"):
        raise ValueError("a secret text")
    await flush()
    [outer], [inner] = collector.named("outer"), collector.named("inner")
    assert inner.parent == outer.id
    assert outer.parent == ""
    assert inner.trace == outer.trace
    assert (inner.attributes, inner.process) == ({"key": "value"}, "test")
    assert inner.failed
    assert outer.failed
    assert (inner.events, outer.events) == (0, 0)


async def test_a_parent_and_links_may_come_from_elsewhere(collector: Collector) -> None:
    with span("first", parent=""):
        first = traceparent()
    with span("second"):
        second = traceparent()
    with under(first), span("child"):
        pass
    with span("given", parent=first, links=[first, second]), span("new", parent=""):
        pass
    await flush()
    spans = {each.name: each for each in collector.spans}
    assert spans["child"].parent == spans["given"].parent == spans["first"].id
    assert spans["given"].links == {spans["first"].id, spans["second"].id}
    assert spans["new"].parent == ""
    assert len({each.trace for each in collector.spans}) == 3


async def test_a_collector_that_is_not_there_stops_nobody(settings: Settings) -> None:
    configure_tracing(settings.model_copy(update={"tracing_endpoint": "http://127.0.0.1:9"}), process="test")
    with span("a"):
        assert traceparent()
    await flush()
    assert not is_tracing()


# --- what goes with a message


class Teller(Actor):
    """Tells for what it works."""

    kind = "teller"

    async def tell(self, after: asyncio.Event | None = None) -> tuple[str, str]:
        if after is not None:
            await after.wait()
        return REQUEST.get(), traceparent()


async def test_a_turn_belongs_to_the_request_of_its_own_message(collector: Collector) -> None:
    host = ActorHost({"teller": Teller})
    teller = LocalActors(host).ref(Teller, "k")
    gate = asyncio.Event()
    with working_for(Origin("first", "")), span("first"):
        one = asyncio.ensure_future(teller.tell(gate))
    with working_for(Origin("second", "")), span("second"):
        two = asyncio.ensure_future(teller.tell())
    three = asyncio.ensure_future(teller.tell())
    await asyncio.sleep(0)
    gate.set()
    told = await asyncio.gather(one, two, three)
    assert [request for request, _ in told] == ["first", "second", ""]
    assert told[2][1] == ""
    await host.stop(1)
    await flush()
    turns = collector.named("teller.tell")
    assert [collector.parent_of(turn).name for turn in turns] == ["first", "second"]


async def test_a_request_is_known_to_a_turn_without_traces_too() -> None:
    host = ActorHost({"teller": Teller})
    teller = LocalActors(host).ref(Teller, "k")
    with working_for(Origin("mine", "")):
        assert await teller.tell() == ("mine", "")
        assert _of_request(None, "info", {"event": "e"}) == {"event": "e", "request_id": "mine"}
    assert await teller.tell() == ("", "")
    assert _of_request(None, "info", {"event": "e"}) == {"event": "e"}
    await host.stop(1)


def test_the_origin_travels_with_the_call_and_is_kept_with_a_message() -> None:
    given = Origin("r", "00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    call = Call(1, "kind", "key", "method", (), None, 5.0, given)
    assert decode_calls(encode_calls([call, call._replace(origin=None)])) == [call, call._replace(origin=None)]
    with working_for(Origin("r", "")):
        assert kept_origin() == {"origin": {"request": "r"}}
        assert Origin.of(kept_origin()) == Origin("r", "")
    assert Origin.of({}) is None


# --- the inbox


def test_events_are_kept_with_the_trace_of_their_call() -> None:
    lone = LoneMessage("dm:1:2", "1", "2", b"{}")
    read = message("hi")
    marked = traced([lone, read], "00-a")
    assert [entry["trace"] for entry in map(entry_of, marked)] == ["00-a", "00-a"]
    assert all("trace" not in entry_of(each) for each in (lone, read))
    assert event_of(entry_of(marked[1]), START) == read
    documents = [{"events": [entry_of(each) for each in marked]}, {"events": [entry_of(read)]}]
    assert traces_of(documents) == ["00-a"]


@pytest.mark.parametrize("calls", [1, 3])
async def test_a_batch_is_linked_to_the_calls_that_brought_it(
    client: Client, database: Database, collector: Collector, calls: int
) -> None:
    await connect(database)
    inbox = Inbox(client, database)
    for _ in range(calls):
        with span("call", parent=""):
            await inbox.add(traced([message(user="200"), message(user="200")], traceparent()), START)
    seen: list[str] = []

    async def reacted(_: object) -> None:
        seen.append(traceparent())

    ingestor = Ingestor(inbox, ingest_of(client, database), range(256), Clock(), batch=100, reacted=reacted)
    ingestor.start()
    await ingestor.ring()
    await ingestor.stop()
    assert await database["messages"].count_documents({}) == 2 * calls
    await flush()
    [ingest] = collector.named("ingest")
    made = collector.named("call")
    assert ingest.links == {each.id for each in made}
    assert ingest.attributes == {"events": 2 * calls}
    assert ingest.parent == (made[0].id if calls == 1 else "")
