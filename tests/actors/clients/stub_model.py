"""A model server that says whatever a test wants it to, as one does that a customer has talked round."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from tests.serving import serving

Body = dict[str, Any]
#: What is answered to a request: a completion's message, or a whole answer.
Says = Callable[[Body], Body | web.Response]

SOUND: Body = {
    "intent": "greeting",
    "confidence": 0.9,
    "response": "Hello! How can I help you today?",
    "slots": [],
    "requiresEscalation": False,
}


def written(**changes: object) -> Body:
    """Return a message that holds an answer."""
    return {"role": "assistant", "content": orjson.dumps({**SOUND, **changes}).decode()}


def calling(*wishes: tuple[str, object]) -> Body:
    """Return a message that asks for tools; arguments that are no text are written as JSON."""
    calls = [
        {
            "id": f"call_{number}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode(),
            },
        }
        for number, (name, arguments) in enumerate(wishes)
    ]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def completion(message: object, finish_reason: str = "stop") -> Body:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 70, "completion_tokens": 30, "total_tokens": 100},
    }


@dataclass
class StubModel:
    """Says what is in `script`, in turn; then its last again. While `hold` is not set it says nothing."""

    url: str = ""
    script: list[Body | Says] = field(default_factory=lambda: [written()])
    asked: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.hold.set()

    async def complete(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            await self.hold.wait()
        finally:
            self.under_way -= 1
        said = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        said = said(body) if callable(said) else said
        return said if isinstance(said, web.Response) else web.json_response(completion(said))

    def messages(self, role: str, turn: int = -1) -> list[str]:
        """Return what stood in the messages of a role in one request, the last."""
        return [str(each.get("content")) for each in self.asked[turn]["messages"] if each["role"] == role]


@asynccontextmanager
async def serving_model() -> AsyncIterator[StubModel]:
    stub = StubModel()
    async with serving(web.post("/v1/chat/completions", stub.complete)) as origin:
        stub.url = f"{origin}/v1"
        yield stub
