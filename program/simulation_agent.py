"""An agent who answers customers through the REST API, as a person's console would."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus

import aiohttp
import orjson

from domain.ids import new_id
from gateway.paths import API
from program.own_client import OwnClient
from storage.client import Database

_LOOK_S = 0.5
_RETRY_S = 0.5
#: Not now, or not known whether: the same request again, under its idempotency key.
_AGAIN = frozenset({HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class AnswerRefused(Exception):
    """The program refused an answer for good."""


class Agent:
    """Answers a share of the conversations, each once; `texts` are the answers that the program has accepted."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        api: OwnClient,
        share: float,
        conversations: Callable[[], Awaitable[list[str]]],
    ) -> None:
        self._session = session
        self._api = api
        self._share = share
        self._conversations = conversations
        self._seen: set[str] = set()
        self._stop = asyncio.Event()
        self.texts: set[str] = set()

    async def work(self) -> None:
        """Answer until told to finish, then what is still due.

        Raises:
            AnswerRefused: when an answer is refused for good.
        """
        while self._share > 0:
            last = self._stop.is_set()
            async for conversation in self._due():
                await self._answer(conversation)
            if last:
                return
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._stop.wait()
            except TimeoutError:
                continue

    def finish(self) -> None:
        """Tell that there will be no new conversations."""
        self._stop.set()

    async def _due(self) -> AsyncIterator[str]:
        for conversation in await self._conversations():
            if conversation not in self._seen:
                self._seen.add(conversation)
                if len(self.texts) < self._share * len(self._seen):
                    yield conversation

    async def _answer(self, conversation: str) -> None:
        key = new_id()
        text = f"Thank you for writing, we are looking into it. Your reference: {key}"
        while True:
            status, retry_after_s = await self._send(conversation, text, key)
            if status == HTTPStatus.OK:
                self.texts.add(text)
                return
            if status == HTTPStatus.UNAUTHORIZED:
                await self._api.login()
            elif status not in _AGAIN:
                raise AnswerRefused(f"an agent's answer was refused with {status}")
            await asyncio.sleep(retry_after_s)

    async def _send(self, conversation: str, text: str, key: str) -> tuple[int, float]:
        """Make the request once; returns its status (503 where there was none) and how long to wait before another."""
        headers = {
            "Authorization": f"Bearer {self._api.token}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        url = f"{self._api.base_url}{API}/conversations/{conversation}/messages?wait=false"
        body = orjson.dumps({"content": text, "type": "text"})
        try:
            async with self._session.post(url, data=body, headers=headers) as response:
                await response.read()
                after = response.headers.get("Retry-After", "")
                return response.status, float(after) if after.isdecimal() else _RETRY_S
        except (aiohttp.ClientError, TimeoutError):
            return HTTPStatus.SERVICE_UNAVAILABLE, _RETRY_S


async def open_conversations(database: Database) -> list[str]:
    """Return the ids of the open conversations, oldest first."""
    found = database["conversations"].find({"status": "open"}, {"_id": 1}).sort("_id", 1)
    return [document["_id"] async for document in found]
