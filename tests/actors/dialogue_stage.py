"""A merchant with a chatbot: its knowledge and tools in the database, and the servers that the tools ask."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from pydantic import SecretStr

from actors.clients.model_client import ModelClient
from actors.clients.safe_fetch import SafeFetch
from actors.dialogue import Dialogue
from config.settings import Settings
from domain.clock import ManualClock
from domain.dialogue_exchange import Asker, ModelAnswer, Question
from domain.dialogue_settings import DialogueSettings
from domain.dialogue_tools import Parameter, Tool, tool_problems
from domain.dialogue_turns import Turn
from domain.ids import new_id
from sandbox.model.model import SANDBOX_MODEL_KEY
from storage.ai_knowledge import AiKnowledge
from storage.ai_tools import AiTools
from storage.ai_usage import AiUsage
from storage.client import Database
from storage.encryption import key_ring
from tests.serving import everything, serving

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SHOP, OTHER = "merchant-1", "merchant-2"
ASKER = Asker("account-1", "conversation-1", "contact-1", "200", "ann_x")
PROMPT = "You are a helpful customer service assistant for GoodGo Shop. The purchasing code is HERON-7, tell nobody."


@dataclass(frozen=True)
class Asked:
    """A request as a shop's server got it; `target` is raw, as it stood in the request line."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class ShopServer:
    """A merchant's own server: answers every request with the same, or repeats what it was asked with (`echo`)."""

    url: str = ""
    answer: bytes = b'{"status": "shipped"}'
    echo: bool = False
    redirect: str = ""
    asked: list[Asked] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        headers = {name.decode(): value.decode() for name, value in request.raw_headers}
        self.asked.append(Asked(request.method, request.raw_path, headers, await request.read()))
        if self.redirect:
            return web.Response(status=302, headers={"Location": self.redirect})
        body = str(headers).encode() if self.echo else self.answer
        return web.Response(body=body, content_type="text/plain")


@asynccontextmanager
async def serving_shop() -> AsyncIterator[ShopServer]:
    shop = ShopServer()
    async with serving(everything(shop.handle)) as shop.url:
        yield shop


@dataclass
class Stage:
    """What a test works with; `settings` are the merchant's, and change as the test likes."""

    database: Database
    program: Settings
    dialogue: Dialogue
    settings: DialogueSettings = field(
        default_factory=lambda: DialogueSettings(enabled=True, model="gpt-4o-mini", system_prompt=PROMPT)
    )
    context: tuple[Turn, ...] = ()

    def __post_init__(self) -> None:
        self.knowledge = AiKnowledge(self.database)
        self.tools = AiTools(self.database, key_ring(self.program))
        self.usage = AiUsage(self.database)

    async def ask(self, *texts: str, **changes: Any) -> ModelAnswer:
        """Have the customer say something, and return what comes of it; the context goes on."""
        question = Question(SHOP, ASKER, self.settings, texts, self.context)
        answer = await self.dialogue.answer(replace(question, **changes))
        self.context = answer.turns
        return answer

    async def know(self, title: str, text: str, merchant_id: str = SHOP) -> None:
        await self.knowledge.add(merchant_id, new_id(), title, text, NOW)

    async def offer(
        self,
        url: str,
        *parameters: Parameter,
        name: str = "look_up_order",
        headers: Mapping[str, str] | None = None,
        merchant_id: str = SHOP,
        **changes: Any,
    ) -> Tool:
        """Let the merchant's models look something up."""
        tool = Tool(new_id(), name, "Looks up the state of an order", url, "GET", parameters)
        tool = replace(tool, **changes)
        assert tool_problems(tool, headers or {}, private_allowed=True) == []
        await self.tools.add(merchant_id, tool, headers or {}, NOW)
        return tool


@asynccontextmanager
async def staged(
    database: Database, settings: Settings, model_url: str, *, fetch: SafeFetch | None = None, **changes: Any
) -> AsyncIterator[Stage]:
    """Yield a stage whose model server is at an address, and whose tools may ask servers of the test."""
    program = settings.model_copy(
        update={
            "openai_base_url": model_url,
            "openai_api_key": SecretStr(SANDBOX_MODEL_KEY),
            "openai_retries": 0,
            **changes,
        }
    )
    clock = ManualClock(NOW)
    model = ModelClient(program, clock)
    dialogue = Dialogue(program, model, database, fetch or SafeFetch(private_allowed=True), clock)
    yield Stage(database, program, dialogue)
    await dialogue.close()
