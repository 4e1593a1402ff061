"""One move of a campaign at a time."""

from __future__ import annotations

import asyncio

import structlog
from pymongo.errors import PyMongoError

from domain.errors import Conflict, Unavailable
from storage.campaign_runs import Moved

log = structlog.get_logger()


class Turn:
    """One move at a time; what the database refuses, or somebody else's faster move, becomes an error of ours."""

    def __init__(self, lock: asyncio.Lock, campaign_id: str) -> None:
        self._lock = lock
        self._campaign_id = campaign_id

    async def __aenter__(self) -> None:
        await self._lock.acquire()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._lock.release()
        if isinstance(error, Moved):
            raise Conflict("The campaign was changed by somebody else") from error
        if isinstance(error, PyMongoError):
            log.warning("campaign.database", campaign=self._campaign_id, error=type(error).__name__)
            raise Unavailable("The database is not to be reached", retry_after_s=2) from error
