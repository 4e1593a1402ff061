"""The official client against a simulated model server, and that server's control API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion, ParsedChatCompletion
from pydantic import BaseModel, ConfigDict, Field

from sandbox.model.model import SANDBOX_MODEL_KEY, Model
from sandbox.model.server import running


class Slots(BaseModel):
    model_config = ConfigDict(extra="forbid")
    orderId: str | None  # noqa: N815  # the field's own name
    product: str | None


class Chatbot(BaseModel):
    """The chatbot's answer, as the contract names its fields."""

    model_config = ConfigDict(extra="forbid")
    intent: str
    confidence: float = Field(ge=0, le=1)
    response: str
    slots: Slots
    requiresEscalation: bool  # noqa: N815  # the field's own name


LOOK_UP: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "look_up_order",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"orderId": {"type": "string"}},
            "required": ["orderId"],
            "additionalProperties": False,
        },
    },
}


@dataclass(frozen=True, slots=True)
class ModelServer:
    """A running model server, a client of it, and its control API."""

    origin: str
    client: AsyncOpenAI
    http: aiohttp.ClientSession

    async def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        async with self.http.request(method, f"{self.origin}/sandbox/model/{path}", json=body) as response:
            assert response.status == 200, await response.text()
            answer: dict[str, Any] = await response.json()
            return answer

    async def fault(self, kind: str, **wanted: Any) -> None:
        await self.control("POST", "faults", {"kind": kind, **wanted})

    async def ask(self, *messages: str | dict[str, Any], **more: Any) -> ChatCompletion:
        """Complete a conversation; bare texts are the user's."""
        listed: Any = [{"role": "user", "content": said} if isinstance(said, str) else said for said in messages]
        completion: ChatCompletion = await self.client.chat.completions.create(
            **{"model": "gpt-4o-mini", "messages": listed, **more}
        )
        return completion

    async def parse(self, *messages: str | dict[str, Any], **more: Any) -> ParsedChatCompletion[Chatbot]:
        listed: Any = [{"role": "user", "content": said} if isinstance(said, str) else said for said in messages]
        return await self.client.chat.completions.parse(
            model="gpt-4o-mini", messages=listed, response_format=Chatbot, **more
        )

    async def chatbot(self, *messages: str | dict[str, Any], **more: Any) -> Chatbot:
        parsed = (await self.parse(*messages, **more)).choices[0].message.parsed
        assert parsed is not None
        return parsed


def client_of(origin: str, key: str = SANDBOX_MODEL_KEY) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{origin}/v1", api_key=key, max_retries=0, timeout=30)


@asynccontextmanager
async def serving() -> AsyncIterator[ModelServer]:
    async with running(Model()) as origin, client_of(origin) as client, aiohttp.ClientSession() as http:
        yield ModelServer(origin, client, http)
