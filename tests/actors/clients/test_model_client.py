"""The client of the model server against the simulated one, over HTTP, with every fault that this one knows."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from actors.clients.model_client import REQUESTS, ModelClient
from actors.clients.model_dialect import Dialect
from actors.clients.model_failures import ModelFailed, ModelFailureKind, wait_of
from actors.clients.model_wire import ModelReply, ModelRequest, fields_of, read_reply
from actors.clients.openai_client import OpenAIClient
from config.settings import Settings
from domain.clock import ManualClock
from domain.dialogue_prompt import PromptMessage
from domain.dialogue_tools import Parameter, Tool
from sandbox.model.model import SANDBOX_MODEL_KEY, Model
from sandbox.model.server import running
from tests.actors.clients.stub_model import StubModel, completion, serving_model, written

START = datetime(2026, 1, 1, tzinfo=UTC)
LOOK_UP = Tool("t1", "look_up_order", "An order", "https://api.shop.test/{{orderId}}", "GET", (Parameter("orderId"),))
_NAMES = ("choices", "message", "content", "tool_calls", "function", "usage", "name", "arguments", "prompt_tokens")
ANSWERS: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2**60) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES), inner),
)
SYSTEM = PromptMessage("system", "Answer in JSON with intent, confidence, requiresEscalation.")


@dataclass
class Stage:
    """A client, the settings it has, and the pauses that it made instead of waiting."""

    settings: Settings
    clock: ManualClock = field(default_factory=lambda: ManualClock(START))
    pauses: list[float] = field(default_factory=list)
    client: ModelClient = field(init=False)

    def __post_init__(self) -> None:
        self.client = ModelClient(self.settings, self.clock, pause=self._pause)

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def request(self, text: str = "Hello!", **changes: Any) -> ModelRequest:
        request = ModelRequest(
            merchant_id="merchant-1",
            model="gpt-4o-mini",
            temperature=0.7,
            max_tokens=500,
            messages=[SYSTEM, PromptMessage("user", text)],
            until=asyncio.get_running_loop().time() + 60,
        )
        return replace(request, **changes)

    async def ask(self, text: str = "Hello!", **changes: Any) -> ModelReply:
        return await self.client.complete(self.request(text, **changes))

    async def fails(self, **changes: Any) -> ModelFailed:
        with pytest.raises(ModelFailed) as caught:
            await self.ask(**changes)
        return caught.value


@asynccontextmanager
async def staged(url: str, key: str = SANDBOX_MODEL_KEY, **changes: Any) -> AsyncIterator[Stage]:
    settings = Settings(openai_base_url=url, openai_api_key=SecretStr(key), **changes)
    stage = Stage(settings)
    yield stage
    await stage.client.close()


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
async def stage(model: Model) -> AsyncIterator[Stage]:
    async with running(model) as origin, staged(f"{origin}/v1") as stage:
        yield stage


@pytest.fixture
async def stub() -> AsyncIterator[StubModel]:
    async with serving_model() as stub:
        yield stub


def counted(outcome: str) -> float:
    return REQUESTS.labels(outcome)._value.get()


# --- answers


async def test_an_answer_comes_by_a_strict_schema(stage: Stage, model: Model) -> None:
    reply = await stage.ask("What's the status of my order #12345?")
    said = orjson.loads(reply.content)
    assert (said["intent"], said["slots"]) == ("order_status_query", [{"name": "orderId", "value": "12345"}])
    assert (reply.calls, reply.finish_reason) == ((), "stop")
    assert reply.tokens == model.asked[0].tokens > 0
    body = model.asked[0].body
    assert body["response_format"]["json_schema"]["strict"] is True  # type: ignore[index,call-overload]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("gpt-4o-mini", 0.7, 500)
    assert "tools" not in body


async def test_a_tool_is_asked_for_and_its_result_taken(stage: Stage) -> None:
    request = stage.request("Where is my order #777?", tools=[LOOK_UP])
    asked = await stage.client.complete(request)
    [call] = asked.calls
    assert (call.name, orjson.loads(call.arguments)) == ("look_up_order", {"orderId": "777"})
    result = PromptMessage("tool", '{"status": "on its way"}', answers=call.id)
    messages = [*request.messages, PromptMessage("assistant", "", asked.calls), result]
    told = await stage.client.complete(replace(request, messages=messages))
    assert "on its way" in orjson.loads(told.content)["response"]
    # Where nothing may be called any more, the tools are still named, since the dialogue holds a call.
    silent = await stage.client.complete(replace(request, may_call=False))
    assert silent.calls == ()


# --- faults


@pytest.mark.parametrize(
    ("fault", "kind", "tries"),
    [
        ({"kind": "error", "status": 500}, ModelFailureKind.SERVER_ERROR, 3),
        ({"kind": "error", "status": 503, "seconds": 2}, ModelFailureKind.SERVER_ERROR, 3),
        ({"kind": "error", "status": 429, "seconds": 3}, ModelFailureKind.RATE_LIMITED, 3),
        ({"kind": "drop"}, ModelFailureKind.UNREACHABLE, 3),
        ({"kind": "broken_body"}, ModelFailureKind.BROKEN_BODY, 3),
        ({"kind": "error", "status": 400}, ModelFailureKind.REFUSED, 1),
        ({"kind": "error", "status": 401}, ModelFailureKind.REFUSED, 1),
        ({"kind": "error", "status": 403}, ModelFailureKind.REFUSED, 1),
        ({"kind": "error", "status": 404}, ModelFailureKind.REFUSED, 1),
        ({"kind": "error", "status": 422}, ModelFailureKind.REFUSED, 1),
    ],
)
async def test_a_fault_that_stays_is_an_error_and_what_may_pass_is_tried_again(
    stage: Stage, model: Model, fault: dict[str, Any], kind: ModelFailureKind, tries: int
) -> None:
    model.faults.order({**fault, "count": 99})
    before = counted(kind)
    error = await stage.fails()
    assert (error.kind, error.code, error.http_status) == (kind, "AI_SERVICE_ERROR", 502)
    assert model.total == tries
    assert counted(kind) == before + tries
    assert len(stage.pauses) == tries - 1


@pytest.mark.parametrize("kind", ["error", "drop", "broken_body"])
async def test_a_fault_that_passes_is_got_over(stage: Stage, model: Model, kind: str) -> None:
    model.faults.order({"kind": kind, "count": 2})
    assert (await stage.ask()).content
    assert model.total == 3


async def test_a_server_is_waited_for_as_long_as_it_asks(stage: Stage, model: Model) -> None:
    model.faults.order({"kind": "error", "status": 429, "seconds": 7})
    assert (await stage.ask()).content
    assert stage.pauses == [7.0]


async def test_a_server_that_asks_for_more_than_there_is_time_is_given_up_at_once(stage: Stage, model: Model) -> None:
    model.faults.order({"kind": "error", "status": 429, "seconds": 3_600})
    error = await stage.fails()
    assert (error.kind, error.retry_after_s, model.total) == (ModelFailureKind.RATE_LIMITED, 3_600, 1)


async def test_pauses_grow_and_have_chance_in_them(stage: Stage, model: Model) -> None:
    model.faults.order({"kind": "drop", "count": 99})
    await stage.fails()
    first, second = stage.pauses
    assert 0.25 <= first <= 0.5 <= second <= 1.0


async def test_a_spent_quota_is_no_limit_that_passes(stage: Stage, model: Model) -> None:
    quota = {"error": {"message": "You exceeded your quota", "type": "x", "code": "insufficient_quota"}}
    model.faults.order({"kind": "error", "status": 429, "body": quota, "count": 9})
    error = await stage.fails()
    assert (error.kind, error.model_code, model.total) == (ModelFailureKind.QUOTA, "insufficient_quota", 1)


async def test_a_slow_answer_is_given_up_and_tried_again(model: Model) -> None:
    async with running(model) as origin, staged(f"{origin}/v1", openai_timeout_s=0.2, openai_retries=1) as stage:
        model.faults.order({"kind": "slow", "seconds": 60})
        assert (await stage.ask()).content
        model.faults.order({"kind": "slow", "seconds": 60, "count": 9})
        assert (await stage.fails()).kind is ModelFailureKind.TIMEOUT
        assert model.total == 4


async def test_nobody_waits_beyond_the_time_that_there_is(stage: Stage, model: Model) -> None:
    model.faults.order({"kind": "slow", "seconds": 60, "count": 9})
    error = await stage.fails(until=asyncio.get_running_loop().time() + 0.2)
    assert (error.kind, model.total) == (ModelFailureKind.TIMEOUT, 1)


async def test_a_server_that_drips_is_given_up(stub: StubModel) -> None:
    never = asyncio.Event()

    class Dripping(web.Response):
        async def prepare(self, request: web.BaseRequest) -> None:  # type: ignore[override]
            response = web.StreamResponse(headers={"Content-Type": "application/json"})
            await response.prepare(request)
            await response.write(b'{"id": ')
            await never.wait()

    stub.script = [lambda _: Dripping()]
    async with staged(stub.url, openai_timeout_s=0.3, openai_retries=0) as stage:
        assert (await stage.fails()).kind is ModelFailureKind.TIMEOUT
        never.set()


async def test_a_server_that_is_not_there_and_none_at_all() -> None:
    async with staged("http://127.0.0.1:9/v1") as stage:
        assert (await stage.fails()).kind is ModelFailureKind.UNREACHABLE
    async with staged("", key="") as stage:
        assert (await stage.fails()).kind is ModelFailureKind.NOT_CONFIGURED


async def test_neither_the_key_nor_the_text_is_in_an_error(stage: Stage, model: Model) -> None:
    body = {"error": {"message": "you said: my secret text", "type": "x", "code": "my secret text"}}
    model.faults.order({"kind": "error", "status": 400, "body": body})
    error = await stage.fails()
    assert "secret" not in f"{error} {error.details}"
    assert SANDBOX_MODEL_KEY not in f"{error} {error.details}"
    moved = pickle.loads(pickle.dumps(error))
    assert (moved.kind, moved.details, moved.message) == (error.kind, error.details, error.message)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"text"',
        b"\xff\xfe",
        b'{"choices": []}',
        b'{"choices": null}',
        b'{"choices": ["x"]}',
        b'{"choices": [{"message": null}]}',
        b"<html>Bad gateway</html>",
        b"[" * 100_000,
        b" " * (4 * 1024 * 1024) + b"{}",
    ],
)
async def test_an_answer_that_is_no_completion_is_a_broken_body(stub: StubModel, answer: bytes) -> None:
    for content_type in ("application/json", "text/html"):
        stub.script = [lambda _, type_=content_type: web.Response(body=answer, content_type=type_)]
        async with staged(stub.url, openai_retries=0) as stage:
            assert (await stage.fails()).kind is ModelFailureKind.BROKEN_BODY


async def test_parts_of_a_text_are_put_together_and_missing_counts_estimated(stub: StubModel) -> None:
    whole = completion({"role": "assistant", "content": [{"type": "text", "text": "a"}, {"text": "b"}, 3]})
    whole["usage"] = {"prompt_tokens": -1, "completion_tokens": True}
    stub.script = [lambda _: web.json_response(whole)]
    async with staged(stub.url) as stage:
        reply = await stage.ask()
    assert reply.content == "ab"
    assert reply.prompt_tokens > 10
    assert reply.completion_tokens == 1


@given(ANSWERS)
def test_reading_an_answer_never_raises(whole: object) -> None:
    request = ModelRequest("m", "x", 0, 1, [], 0.0)
    reply = read_reply(orjson.dumps(whole), request)
    assert reply is None or (isinstance(reply.content, str) and reply.tokens >= 0)


# --- dialects


async def test_a_server_that_knows_no_schemas_is_asked_for_json_and_remembered(stage: Stage, model: Model) -> None:
    model.faults.order({"kind": "no_structured_output", "count": 99})
    for _ in range(2):
        assert orjson.loads((await stage.ask()).content)["intent"] == "greeting"
    assert [asked.body.get("response_format", {}).get("type") for asked in model.asked] == [  # type: ignore[attr-defined]
        "json_schema",
        "json_object",
        "json_object",
    ]
    assert stage.pauses == []


@pytest.mark.parametrize(
    ("param", "message", "field"),
    [
        ("response_format", "not supported", "response_format"),
        ("max_tokens", "'max_tokens' is not supported with this model. Use 'max_completion_tokens'.", "max_tokens"),
        ("temperature", "Only the default (1) value is supported.", "temperature"),
        (None, "this model does not support tools", "tools"),
    ],
)
async def test_a_field_that_a_server_does_not_take_is_left_out(
    stub: StubModel, param: str | None, message: str, field: str
) -> None:
    def picky(body: dict[str, Any]) -> web.Response | dict[str, Any]:
        if field in body:
            error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
            return web.json_response({"error": error}, status=400)
        return written()

    stub.script = [picky]
    async with staged(stub.url) as stage:
        assert (await stage.ask(tools=[LOOK_UP])).content
        assert field not in stub.asked[-1]
        known = len(stub.asked)
        assert (await stage.ask(tools=[LOOK_UP])).content
        assert len(stub.asked) == known + 1
        assert (await stage.ask(model="another")).content
        assert stub.asked[known + 1]["model"] == "another"


async def test_a_server_that_refuses_whatever_it_is_asked_with_is_given_up(stub: StubModel) -> None:
    error = {"message": "response_format temperature tools max_completion_tokens json_schema", "type": "x"}
    stub.script = [lambda _: web.json_response({"error": error}, status=400)]
    async with staged(stub.url) as stage:
        assert (await stage.fails(tools=[LOOK_UP])).kind is ModelFailureKind.REFUSED
        assert len(stub.asked) == 6


def test_the_plainest_dialect_asks_for_nothing_special() -> None:
    request = ModelRequest("m", "x", 0.5, 9, [], 0.0, tools=[LOOK_UP])
    plain = Dialect("text", "max_completion_tokens", temperature=False, tools=False)
    assert fields_of(request, plain) == {"max_completion_tokens": 9}


# --- the circuit


async def test_a_merchants_circuit_opens_and_another_ones_does_not(stage: Stage, model: Model) -> None:
    model.faults.order({"kind": "drop", "match": "Hello", "count": 99})
    for _ in range(5):
        assert (await stage.fails()).kind is ModelFailureKind.UNREACHABLE
    known = model.total
    error = await stage.fails()
    assert (error.kind, error.retry_after_s) == (ModelFailureKind.CIRCUIT_OPEN, 15)
    assert model.total == known
    assert (await stage.ask("Goodbye", merchant_id="merchant-2")).content
    model.faults.clear()
    stage.clock.set(START + timedelta(seconds=15))
    assert (await stage.ask()).content


async def test_what_is_refused_or_nonsense_opens_no_circuit(stage: Stage, model: Model) -> None:
    for fault in ({"kind": "error", "status": 400}, {"kind": "broken_json"}, {"kind": "empty"}):
        model.faults.order({**fault, "count": 7})
        for _ in range(7):
            with suppress(ModelFailed):
                await stage.ask()
    assert model.total == 21


# --- many at once


async def test_no_more_calls_are_under_way_than_are_allowed(stub: StubModel) -> None:
    stub.hold.clear()
    async with staged(stub.url, openai_calls_at_once=3) as stage:
        asks = [asyncio.create_task(stage.ask()) for _ in range(9)]
        while stub.under_way < 3:
            await asyncio.sleep(0.01)
        busy = await stage.fails(until=asyncio.get_running_loop().time() + 0.05)
        assert busy.kind is ModelFailureKind.BUSY
        stub.hold.set()
        assert len(await asyncio.gather(*asks)) == 9
        assert stub.most_at_once == 3


# --- how long to wait


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT"}, 60.0),
        ({"retry-after": "Thu, 01 Jan 2025 00:01:00 GMT"}, 0.0),
        ({"retry-after": "later"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": ""}, None),
    ],
)
def test_a_servers_wish_to_be_left_alone_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert wait_of(headers, START) == seconds


def test_openais_client_has_no_repetitions_and_no_environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "someone")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere.test")
    client = OpenAIClient(Settings(openai_api_key=SecretStr("k")))._client
    assert (str(client.base_url), client.max_retries) == ("https://api.openai.com/v1/", 0)
    assert (client.organization, client.project) == (None, None)


def test_openais_client_is_loaded_where_there_is_a_model_server_and_nowhere_else() -> None:
    code = """
import sys
import gateway.app, actors.host_services
from actors.clients.model_client import ModelClient
from config.settings import Settings
from domain.clock import SystemClock
ModelClient(Settings(), SystemClock())
assert "openai" not in sys.modules
ModelClient(Settings(openai_base_url="http://localhost:1/v1"), SystemClock())
assert "openai" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
