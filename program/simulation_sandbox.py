"""The simulated X as `run.py simulate` steers it and reads its books, over the sandbox's control API."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypedDict, cast

import aiohttp
import orjson

from program.simulation_order import NO_LIMIT, Order

_PAGE = 10_000
_POLL_S = 0.1
_PATIENCE_S = 60.0


class SandboxFailed(Exception):
    """The sandbox refused an order, or did not do what was waited for."""


class LoadProgress(TypedDict):
    """How far a load is; latencies in milliseconds from when a message was due to its acceptance."""

    sent: int
    deliveries: int
    acknowledged: int
    lost: int
    done: bool
    seconds: float
    p50_ms: float | None
    p99_ms: float | None
    max_ms: float | None


class _Webhook(TypedDict):
    valid: bool


class _State(TypedDict):
    webhooks: list[_Webhook]
    subscriptions: _Subscriptions
    deliveries: _Deliveries


class _Subscriptions(TypedDict):
    account_activity: dict[str, list[str]]


class _Deliveries(TypedDict):
    pending: int


class _Attempt(TypedDict):
    status: int | None


class _RawDelivery(TypedDict):
    key: str
    outcome: str
    attempts: list[_Attempt]


class _RawMessage(TypedDict):
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of one message: how it ended (`acknowledged`, `lost`, `pending`) after how many attempts."""

    message_id: str
    outcome: str
    attempts: int


@dataclass(frozen=True, slots=True)
class SentByShop:
    """A message that X took from a shop account."""

    message_id: str
    text: str


class Sandbox:
    """The control API of one sandbox."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = f"{url}/sandbox"

    async def prepare(self, accounts: Sequence[str]) -> None:
        """Lift X's limits, have the accounts exist, and have customers write only what is ordered."""
        await self._post("limits", {"all": NO_LIMIT, "account_24h": NO_LIMIT})
        await self._post("accounts", {"ids": list(accounts)})
        await self._post("rate", {"rate": 0, "answers": 0, "duplicates": 0})

    async def until_webhook(self) -> None:
        """Wait until the program has registered its webhook; before, accounts are connected without events.

        Raises:
            SandboxFailed: when it does not.
        """
        await self._until("webhook", lambda state: any(hook["valid"] for hook in state["webhooks"]))

    async def until_subscribed(self, accounts: Sequence[str]) -> None:
        """Wait until X sends the events of all accounts.

        Raises:
            SandboxFailed: when it does not.
        """
        await self._until(
            "subscriptions", lambda state: set(accounts) <= set(state["subscriptions"]["account_activity"])
        )

    async def start_load(self, order: Order, accounts: Sequence[str]) -> None:
        """Have customers write."""
        body = {"count": order.count, "rate": order.rate, "customers": order.customers, "accounts": list(accounts)}
        await self._post("load", body)

    async def load(self) -> LoadProgress:
        """Return how far the load is."""
        return cast(LoadProgress, (await self._get("load"))["load"])

    async def pending(self) -> int:
        """Return how many deliveries of any kind are under way, or wait for their next attempt."""
        return (await self._state())["deliveries"]["pending"]

    async def deliveries(self) -> list[Delivery]:
        """Return every delivery of a message, those of the shops' own messages included."""
        found: list[Delivery] = []
        while True:
            page = cast("list[_RawDelivery]", (await self._page("deliveries?kind=message", len(found)))["deliveries"])
            found += [Delivery(raw["key"].rpartition(":")[2], raw["outcome"], len(raw["attempts"])) for raw in page]
            if len(page) < _PAGE:
                return found

    async def sent_by(self, account: str) -> list[SentByShop]:
        """Return every message that X took from a shop account."""
        found: list[SentByShop] = []
        while True:
            page = cast("list[_RawMessage]", (await self._page(f"messages?sender={account}", len(found)))["messages"])
            found += [SentByShop(raw["id"], raw["text"]) for raw in page]
            if len(page) < _PAGE:
                return found

    async def _page(self, path: str, skip: int) -> dict[str, object]:
        return await self._get(f"{path}&skip={skip}&take={_PAGE}")

    async def _state(self) -> _State:
        return cast(_State, await self._get("state"))

    async def _until(self, what: str, met: Callable[[_State], bool]) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while True:
                    if met(await self._state()):
                        return
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise SandboxFailed(f"X, the sandbox, did not see the program's {what}") from None

    async def _get(self, path: str) -> dict[str, object]:
        async with self._session.get(f"{self._url}/{path}") as response:
            return _checked(response.status, await response.read())

    async def _post(self, path: str, body: object) -> dict[str, object]:
        async with self._session.post(f"{self._url}/{path}", data=orjson.dumps(body)) as response:
            return _checked(response.status, await response.read())


def _checked(status: int, raw: bytes) -> dict[str, object]:
    answer: dict[str, object] = orjson.loads(raw)
    if status != HTTPStatus.OK:
        raise SandboxFailed(f"the sandbox answered {status}: {answer.get('error')}")
    return answer
