"""The program's own calls of its REST API: what the banner shows is what a user could do."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from types import TracebackType
from typing import Self

import aiohttp
import orjson

from config.settings import Settings
from domain.clock import SystemClock
from gateway.paths import API
from gateway.tokens import AccessTokens

_POLL_S = 0.05


class CallFailed(Exception):
    """The program's own API answered something else than success."""


class OwnClient:
    """Talks to the gateway as its first user."""

    def __init__(self, settings: Settings) -> None:
        host = "127.0.0.1" if settings.host in {"0.0.0.0", "::"} else settings.host  # noqa: S104  # compared, not bound
        self.base_url = f"http://{host}:{settings.port}"
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self.token = ""
        self._own_token = ""

    async def __aenter__(self) -> Self:
        """Open a session."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session."""
        if self._session:
            await self._session.close()

    async def until_ready(self) -> None:
        """Wait until every part of the program serves."""
        while True:
            if await self._is_ready():
                return
            await asyncio.sleep(_POLL_S)

    async def missing(self) -> str:
        """Return the names of the parts that don't serve yet, for people."""
        try:
            async with self._open().get(f"{self.base_url}/health/ready") as response:
                parts = orjson.loads(await response.read()).get("parts", {})
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError):
            return "the gateway"
        return ", ".join(f"{name} ({part['detail']})" for name, part in parts.items() if not part["ready"]) or "nothing"

    async def _is_ready(self) -> bool:
        try:
            async with self._open().get(f"{self.base_url}/health/ready") as response:
                return response.status == HTTPStatus.OK
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def login(self) -> None:
        """Log in as the first user."""
        body = {
            "email": self._settings.admin_email,
            "password": self._settings.admin_password.get_secret_value(),
        }
        answer = await self.call("POST", "/api/v1/auth/login", body)
        if not isinstance(answer, dict):
            raise CallFailed("the login answered no token")
        self.token = str(answer["accessToken"])
        if self._settings.jwt_secret.get_secret_value():
            self._own_token = await self._uncounted()

    async def _uncounted(self) -> str:
        """Return a token for the program's own calls, which are not the merchant's."""
        tokens = AccessTokens(self._settings, SystemClock())
        principal = await tokens.verify(self.token)
        roles = [role.value for role in principal.roles]
        return tokens.issue(principal.user_id, principal.merchant_id, roles, uncounted=True)

    async def call(self, method: str, path: str, body: object = None) -> object:
        """Make one call and return its `data`.

        Raises:
            CallFailed: when it was no success.
        """
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self._own_token or self.token}"
        url = self.base_url + (path if path.startswith("/api") else API + path)
        data = orjson.dumps(body) if body is not None else None
        async with self._open().request(method, url, data=data, headers=headers) as response:
            answer = orjson.loads(await response.read())
        if not answer.get("success"):
            raise CallFailed(f"{method} {path}: {answer.get('code')}: {answer.get('error')}")
        result: object = answer["data"]
        return result

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise CallFailed("the client is not open")
        return self._session
