"""The simulated model server as the official client meets it: errors, usage, limits, faults, records."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import orjson
import pytest

from sandbox.model.model import Model
from sandbox.model.refusal import RETRY_AFTER_S
from sandbox.model.server import running
from sandbox.server import running as running_sandbox
from tests.sandbox.model_client import LOOK_UP, ModelServer, client_of, serving
from tests.sandbox.shop import make_world

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"intent": {"type": "string"}},
    "required": ["intent"],
    "additionalProperties": False,
}


def strictly(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with serving() as server:
        yield server


async def test_a_completion_has_the_shape_of_openais(server: ModelServer) -> None:
    completion = await server.ask({"role": "system", "content": "Be kind."}, "Hello!", model="gpt-4", n=2)
    assert (completion.object, completion.model) == ("chat.completion", "gpt-4")
    assert [choice.index for choice in completion.choices] == [0, 1]
    assert {choice.finish_reason for choice in completion.choices} == {"stop"}
    usage = completion.usage
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    longer = (await server.ask("Hello! " * 100)).usage
    assert longer is not None
    assert longer.prompt_tokens > usage.prompt_tokens > 0
    assert completion.id != (await server.ask("Hello!")).id


async def test_models_are_listed_and_shown(server: ModelServer) -> None:
    names = [model.id async for model in server.client.models.list()]
    assert "gpt-4" in names
    assert (await server.client.models.retrieve("gpt-4o")).id == "gpt-4o"
    with pytest.raises(openai.NotFoundError):
        await server.client.models.retrieve("llama")


@pytest.mark.parametrize("key", ["sk-wrong", "schlüssel"])
async def test_a_wrong_key_is_refused_and_not_repeated(server: ModelServer, key: str) -> None:
    headers = {"Authorization": f"Bearer {key}".encode().decode("latin-1")}
    async with server.http.get(f"{server.origin}/v1/models", headers=headers) as response:
        assert response.status == 401
        assert key not in await response.text()
    async with client_of(server.origin, "sk-wrong") as stranger:
        with pytest.raises(openai.AuthenticationError) as caught:
            await stranger.models.list()
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id


async def test_no_key_is_refused(server: ModelServer) -> None:
    async with server.http.get(f"{server.origin}/v1/models") as response:
        assert response.status == 401
        assert "didn't provide an API key" in (await response.json())["error"]["message"]


async def test_a_model_or_path_that_there_is_not_is_refused(server: ModelServer) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await server.ask("Hello!", model="llama")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError, match="Invalid URL"):
        await server.client.embeddings.create(model="gpt-4", input="x")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"messages": []}, "empty array"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "Invalid value: 'robot'"),
        ({"messages": [{"role": "user", "content": None}]}, "got null"),
        ({"messages": [{"role": "tool", "tool_call_id": "c", "content": "x"}]}, "preceding message"),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                    },
                    {"role": "user", "content": "x"},
                ]
            },
            "did not have response messages: c1",
        ),
        ({"temperature": 2.1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"n": 9}, "'n'"),
        ({"stream": True}, "does not stream"),
        ({"tool_choice": "auto"}, "only allowed when 'tools'"),
        ({"tools": [LOOK_UP], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "not found in 'tools'"),
        ({"tools": [{"type": "function", "function": {"name": "not a name"}}]}, "a function with a name"),
        ({"response_format": {"type": "yaml"}}, "Invalid value: 'yaml'"),
        ({"response_format": {"type": "json_object"}}, "the word 'json'"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}, "json_schema.name"),
        ({"response_format": strictly({"anyOf": [SCHEMA]})}, 'type: "object"'),
        ({"response_format": strictly({**SCHEMA, "additionalProperties": True})}, "additionalProperties"),
        ({"response_format": strictly({**SCHEMA, "required": []})}, "Missing 'intent'"),
        (
            {"response_format": strictly({**SCHEMA, "properties": {"intent": {"type": "string", "default": ""}}})},
            "'default' is not permitted",
        ),
    ],
)
async def test_what_openai_would_not_take_is_refused(server: ModelServer, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await server.ask("Hello!", **wrong)
    assert words in caught.value.message
    assert caught.value.type == "invalid_request_error"


async def test_a_body_that_is_no_json_and_one_without_a_model_are_refused(server: ModelServer) -> None:
    headers = {"Authorization": "Bearer sandbox-model-key"}
    for body in (b"{", b"{}"):
        async with server.http.post(f"{server.origin}/v1/chat/completions", data=body, headers=headers) as response:
            assert response.status == 400
            assert (await response.json())["error"]["message"]


async def test_an_answer_over_the_limit_of_tokens_is_cut_off(server: ModelServer) -> None:
    cut = await server.ask("What are your opening hours?", max_tokens=5)
    assert cut.choices[0].finish_reason == "length"
    assert cut.usage is not None
    assert cut.usage.completion_tokens <= 5
    with pytest.raises(openai.LengthFinishReasonError):
        await server.parse("What are your opening hours?", max_completion_tokens=5)
    call = (await server.ask("Where is order #12345?", tools=[LOOK_UP], max_tokens=5)).choices[0]
    assert call.finish_reason == "length"


# --- faults


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (409, openai.ConflictError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_every_error_of_the_client_can_be_ordered(
    server: ModelServer, status: int, error: type[openai.APIStatusError]
) -> None:
    await server.fault("error", status=status)
    with pytest.raises(error) as caught:
        await server.ask("Hello!")
    assert caught.value.status_code == status
    retries = caught.value.response.headers.get("retry-after")
    assert retries == (str(RETRY_AFTER_S) if status in (429, 503) else None)
    assert (await server.ask("Hello!")).choices


async def test_the_clients_own_repetition_gets_over_an_error(server: ModelServer) -> None:
    await server.fault("error", status=429, seconds=0.01, count=2)
    patient = server.client.with_options(max_retries=2)
    completion = await patient.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "Hello!"}])
    assert completion.choices
    requests = (await server.control("GET", "requests"))["requests"]
    assert [asked["status"] for asked in requests] == [429, 429, 200]


async def test_an_error_can_have_a_body_of_its_own(server: ModelServer) -> None:
    quota = {"error": {"message": "You exceeded your current quota", "type": "x", "code": "insufficient_quota"}}
    await server.fault("error", status=429, body=quota)
    with pytest.raises(openai.RateLimitError) as caught:
        await server.ask("Hello!")
    assert caught.value.code == "insufficient_quota"


async def test_a_slow_model_outlasts_a_clients_patience_and_answers_a_patient_one(server: ModelServer) -> None:
    await server.fault("slow", seconds=60)
    with pytest.raises(openai.APITimeoutError):
        await server.ask("Hello!", timeout=0.2)
    await server.fault("slow", seconds=0.01)
    assert (await server.ask("Hello!")).choices


async def test_a_dropped_connection(server: ModelServer) -> None:
    await server.fault("drop")
    with pytest.raises(openai.APIConnectionError) as caught:
        await server.ask("Hello!")
    assert not isinstance(caught.value, openai.APITimeoutError)


async def test_a_model_without_structured_output_refuses_only_schemas(server: ModelServer) -> None:
    await server.fault("no_structured_output", count=9)
    with pytest.raises(openai.BadRequestError) as caught:
        await server.parse("Hello!")
    assert caught.value.param == "response_format"
    assert (await server.ask("Hello!")).choices[0].message.content


async def test_half_a_body_reaches_the_caller_as_an_error_that_is_none_of_the_clients(server: ModelServer) -> None:
    await server.fault("broken_body")
    with pytest.raises(json.JSONDecodeError) as caught:
        await server.ask("Hello!")
    assert not isinstance(caught.value, openai.OpenAIError)


@pytest.mark.parametrize("kind", ["broken_json", "schema_violated"])
async def test_content_that_is_not_what_was_asked_for(server: ModelServer, kind: str) -> None:
    await server.fault(kind)
    with pytest.raises(ValueError, match="validation error"):
        await server.parse("Where is order #12345?")
    assert (await server.chatbot("Where is order #12345?")).slots.orderId == "12345"


async def test_broken_json_is_none_and_a_violated_schema_is_json(server: ModelServer) -> None:
    async def content(kind: str) -> str:
        await server.fault(kind)
        return (await server.ask("Hello!", response_format=strictly(SCHEMA))).choices[0].message.content or ""

    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(await content("broken_json"))
    assert orjson.loads(await content("schema_violated")) == {"intent": ["greeting"], "unexpected": True}


async def test_answers_that_end_early(server: ModelServer) -> None:
    await server.fault("truncated")
    with pytest.raises(openai.LengthFinishReasonError):
        await server.parse("Hello!")
    await server.fault("content_filter")
    with pytest.raises(openai.ContentFilterFinishReasonError):
        await server.parse("Hello!")
    await server.fault("empty")
    assert (await server.ask("Hello!")).choices[0].message.content is None


async def test_a_refusal_of_the_model(server: ModelServer) -> None:
    await server.fault("refusal")
    message = (await server.parse("Hello!")).choices[0].message
    assert message.parsed is None
    assert message.refusal


async def test_a_model_that_obeys_strangers_calls_what_was_not_offered_and_tells_its_prompt(
    server: ModelServer,
) -> None:
    await server.fault("unoffered_tool", tool="delete_everything")
    choice = (await server.ask("Give me money!", tools=[LOOK_UP])).choices[0]
    call = (choice.message.tool_calls or [])[0]
    assert call.type == "function"
    assert (choice.finish_reason, call.function.name) == ("tool_calls", "delete_everything")
    await server.fault("leak")
    answer = await server.chatbot({"role": "system", "content": "The secret word is heron."}, "Hello!")
    assert "heron" in answer.response


async def test_faults_are_matched_counted_and_cleared(server: ModelServer) -> None:
    await server.fault("error", match="refund", count=2)
    await server.fault("error", match={"model": "gpt-4"}, count=9, status=503)
    assert (await server.ask("Hello!")).choices
    with pytest.raises(openai.InternalServerError):
        await server.ask("A REFUND, please")
    with pytest.raises(openai.InternalServerError):
        await server.ask("Hello!", model="gpt-4")
    faults = (await server.control("GET", "faults"))["faults"]
    assert [(fault["fired"], fault["left"]) for fault in faults] == [(1, 1), (1, 8)]
    left = await server.control("DELETE", f"faults?id={faults[1]['id']}")
    assert [fault["id"] for fault in left["faults"]] == [faults[0]["id"]]
    assert await server.control("DELETE", "faults") == {"faults": []}
    assert (await server.ask("A refund, please")).choices


async def test_a_probability_strikes_some_and_spares_some(server: ModelServer) -> None:
    await server.fault("empty", probability=0.5)
    contents = {(await server.ask("Hello!")).choices[0].message.content is None for _ in range(40)}
    assert contents == {True, False}


async def test_an_unreadable_fault_or_control_request_is_told_why(server: ModelServer) -> None:
    wrong: tuple[Any, ...] = ({"kind": "flood"}, {"kind": "error", "status": 200}, {"kind": "drop", "match": "("}, [])
    for body in wrong:
        async with server.http.post(f"{server.origin}/sandbox/model/faults", json=body) as response:
            assert response.status == 400
            assert (await response.json())["error"]
    async with server.http.delete(f"{server.origin}/sandbox/model/faults?id=x") as response:
        assert response.status == 400
    async with server.http.get(f"{server.origin}/sandbox/model/requests?skip=x") as response:
        assert response.status == 400


# --- records, and the server beside the simulated X


async def test_requests_are_remembered_as_they_were_sent(server: ModelServer) -> None:
    await server.ask("one", temperature=0.3)
    await server.fault("refusal")
    await server.ask("two")
    with pytest.raises(openai.NotFoundError):
        await server.ask("three", model="llama")
    known = await server.control("GET", "requests")
    assert (known["total"], known["refused"]) == (2, {"404": 1})
    first, second = known["requests"]
    assert (first["body"]["temperature"], first["fault"], first["finishReason"]) == (0.3, "", "stop")
    assert second["body"]["messages"] == [{"role": "user", "content": "two"}]
    assert (second["fault"], second["status"]) == ("refusal", 200)
    assert second["tokens"] > 0
    assert [asked["number"] for asked in (await server.control("GET", "requests?skip=1&take=1"))["requests"]] == [2]
    assert "sandbox-model-key" not in orjson.dumps(known).decode()
    await server.control("DELETE", "requests")
    assert await server.control("GET", "requests") == {"total": 0, "refused": {}, "requests": []}


async def test_it_stands_beside_the_simulated_x_whose_faults_do_not_strike_it(http: aiohttp.ClientSession) -> None:
    async with running_sandbox(make_world(), model=Model(key="other")) as origin, client_of(origin, "other") as client:
        beside = ModelServer(origin, client, http)
        await http.post(f"{origin}/sandbox/faults", json={"kind": "error", "status": 500, "count": 9})
        await beside.fault("error", status=503)
        async with http.get(f"{origin}/2/users/me") as response:
            assert response.status == 500
        with pytest.raises(openai.InternalServerError) as caught:
            await beside.ask("Hello!")
        assert caught.value.status_code == 503
        assert (await beside.chatbot("Hello!")).intent == "greeting"


async def test_two_servers_with_one_seed_draw_the_same_faults() -> None:
    async def drawn() -> list[bool]:
        async with running(Model(seed=7)) as origin, client_of(origin) as client, aiohttp.ClientSession() as http:
            server = ModelServer(origin, client, http)
            await server.fault("empty", probability=0.5)
            return [(await server.ask("Hello!")).choices[0].message.content is None for _ in range(20)]

    assert await drawn() == await drawn()
