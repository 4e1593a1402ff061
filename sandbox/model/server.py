"""The simulated model server: OpenAI's endpoints under /v1, answered by rules; its control API is /sandbox/model.

Source: OpenAI's API reference (chat completions, models, error codes).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from secrets import compare_digest
from typing import Final

from aiohttp import web

from sandbox.body import JsonObject, answer, dump, read_object
from sandbox.clock import millis
from sandbox.model import control
from sandbox.model.faults import ModelFault, ModelFaultKind
from sandbox.model.model import MODEL, Asked, Model
from sandbox.model.refusal import (
    ModelRefusal,
    error_body,
    invalid,
    no_key,
    no_model,
    no_structured_output,
    ordered,
    wrong_key,
)
from sandbox.model.reply import Reply, reply
from sandbox.model.request import MODELS, ChatRequest, is_known, read
from sandbox.model.tokens import count

#: What every message costs beside its text, and every request beside its messages.
_TOKENS_A_MESSAGE: Final = 4
_TOKENS_A_REQUEST: Final = 3
_LARGEST_BODY = 4 * 1024 * 1024

Handler = Callable[[Model, web.Request], Awaitable[web.StreamResponse]]


def routes() -> list[web.RouteDef]:
    """Return OpenAI's endpoints, with the model's control API; the application needs `MODEL`."""
    return [
        web.post("/v1/chat/completions", _endpoint(_complete)),
        web.get("/v1/models", _endpoint(_list_models)),
        web.get("/v1/models/{model}", _endpoint(_show_model)),
        web.route("*", "/v1/{path:.*}", _endpoint(_unknown)),
        *control.routes(),
    ]


@asynccontextmanager
async def running(model: Model, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve a model alone and yield its origin, `http://host:port`: clients take `/v1` under it as base URL."""
    app = web.Application(client_max_size=_LARGEST_BODY)
    app[MODEL] = model
    app.router.add_routes(routes())
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def _endpoint(handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Return a handler of HTTP: authenticates, numbers the request, and answers refusals in OpenAI's shape."""

    async def serve(request: web.Request) -> web.StreamResponse:
        model = request.app[MODEL]
        number = model.next_request()
        try:
            _authenticate(model, request)
            response = await handler(model, request)
        except ModelRefusal as refusal:
            model.refused[refusal.status] += 1
            response = answer(refusal.body, refusal.status, refusal.headers)
        response.headers["x-request-id"] = number
        return response

    return serve


def _authenticate(model: Model, request: web.Request) -> None:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.casefold() != "bearer" or not key:
        raise no_key()
    if not compare_digest(key.encode(), model.key.encode()):
        raise wrong_key()


async def _complete(model: Model, request: web.Request) -> web.StreamResponse:
    body = await read_object(request)
    if body is None:
        raise invalid("We could not parse the JSON body of your request.")
    asked = read(body)
    fault = model.faults.strike(asked)
    record = model.record(asked, fault)
    if fault is not None:
        if fault.kind is ModelFaultKind.DROP:
            record.status = 0
            return _drop(request)
        await _before(fault, record)
    said = reply(asked, fault)
    usage = _usage(asked, said)
    record.finish_reason, record.tokens = said.finish_reason, usage["total_tokens"]
    completion = _completion(model, asked, said, usage)
    if fault is not None and fault.kind is ModelFaultKind.BROKEN_BODY:
        whole = dump(completion)
        return web.Response(body=whole[: len(whole) // 2], content_type="application/json")
    return answer(completion)


async def _before(fault: ModelFault, record: Asked) -> None:
    """Do what a fault does before the model answers.

    Raises:
        ModelRefusal: the fault is an error.
    """
    if fault.kind is ModelFaultKind.SLOW:
        await asyncio.sleep(fault.seconds)
    refusal = None
    if fault.kind is ModelFaultKind.ERROR:
        refusal = ordered(fault.status, fault.seconds)
        if fault.body is not None:
            refusal = ModelRefusal(fault.status, fault.body, refusal.headers)
    if fault.kind is ModelFaultKind.NO_STRUCTURED_OUTPUT:
        refusal = no_structured_output()
    if refusal is not None:
        record.status = refusal.status
        raise refusal


def _drop(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.close()
    return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)


def _usage(asked: ChatRequest, said: Reply) -> dict[str, int]:
    offered = [asked.schema, *(tool.parameters for tool in asked.tools)]
    prompt = (
        _TOKENS_A_REQUEST
        + sum(_TOKENS_A_MESSAGE + count(message.text) for message in asked.messages)
        + sum(count(dump(schema).decode()) for schema in offered if schema)
    )
    completion = said.completion_tokens * asked.choices
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _completion(model: Model, asked: ChatRequest, said: Reply, usage: dict[str, int]) -> JsonObject:
    identifier = model.next_completion()
    message: JsonObject = {"role": "assistant", "content": said.content, "refusal": said.refusal, "annotations": []}
    if said.wish is not None:
        function = {"name": said.wish.tool, "arguments": said.wish.arguments}
        message["tool_calls"] = [{"id": f"call_{identifier}", "type": "function", "function": function}]
    return {
        "id": f"chatcmpl-{identifier}",
        "object": "chat.completion",
        "created": millis(model.clock) // 1000,
        "model": asked.model,
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": said.finish_reason}
            for index in range(asked.choices)
        ],
        "usage": usage,
        "service_tier": "default",
        "system_fingerprint": "fp_sandbox",
    }


async def _list_models(_: Model, __: web.Request) -> web.StreamResponse:
    return answer({"object": "list", "data": [_described(name) for name in MODELS]})


async def _show_model(_: Model, request: web.Request) -> web.StreamResponse:
    name = request.match_info["model"]
    if not is_known(name):
        raise no_model(name)
    return answer(_described(name))


def _described(name: str) -> JsonObject:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "sandbox"}


async def _unknown(_: Model, request: web.Request) -> web.StreamResponse:
    message = f"Invalid URL ({request.method} {request.path})"
    raise ModelRefusal(HTTPStatus.NOT_FOUND, error_body(message, "invalid_request_error"))
