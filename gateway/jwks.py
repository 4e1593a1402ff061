from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import aiohttp
import structlog
from jwt import PyJWK, PyJWKSet
from jwt.exceptions import PyJWTError

from domain.clock import Clock
from domain.errors import Unavailable

log = structlog.get_logger()

_FRESH_FOR = timedelta(minutes=10)
#: An unknown key id asks the issuer again, but no more often than this: anybody can make one up.
_ASK_AGAIN_AFTER = timedelta(seconds=30)
_TIMEOUT = aiohttp.ClientTimeout(total=5)


class Jwks:
    """The public keys of an external token issuer, by key id."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._keys: dict[str | None, PyJWK] = {}
        self._read_at: datetime | None = None
        self._reading = asyncio.Lock()

    async def key(self, key_id: str | None) -> PyJWK | None:
        """Return a key, or nothing when the issuer has none with this id; without an id the only one that it has.

        Raises:
            Unavailable: when the issuer does not answer and no keys are known.
        """
        if self._is_due(key_id):
            async with self._reading:
                if self._is_due(key_id):
                    await self._read()
        if key_id is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(key_id)

    def _is_due(self, key_id: str | None) -> bool:
        if self._read_at is None:
            return True
        age = self._clock.now() - self._read_at
        return age > (_FRESH_FOR if key_id in self._keys else _ASK_AGAIN_AFTER)

    async def _read(self) -> None:
        try:
            async with (
                aiohttp.ClientSession(timeout=_TIMEOUT) as session,
                session.get(self._url, allow_redirects=False) as answer,
            ):
                answer.raise_for_status()
                keys = PyJWKSet.from_dict(await answer.json(content_type=None)).keys
        except (aiohttp.ClientError, TimeoutError, ValueError, PyJWTError, AttributeError, TypeError) as error:
            log.warning("jwks.unreadable", error=type(error).__name__)
            if not self._keys:
                raise Unavailable("The token issuer is not to be reached", retry_after_s=5) from error
        else:
            self._keys = {key.key_id: key for key in keys}
        self._read_at = self._clock.now()
