from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.roles import Role, known_roles
from storage.users import Users

#: How long a gateway may go by what it has read: a person who was disabled through another one is refused after this.
STALE_AFTER = timedelta(seconds=5)
_MOST_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a person may work, and as what."""

    active: bool
    roles: frozenset[Role]


@dataclass(frozen=True, slots=True)
class _Kept:
    standing: Standing | None
    read_at: datetime


class Standings:
    """How people stand today, whatever their tokens say; kept in memory for seconds."""

    def __init__(self, users: Users) -> None:
        self._users = users
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()

    async def of(self, merchant_id: str, user_id: str, now: datetime) -> Standing | None:
        """Return a person's standing; nothing for somebody whom only an external token issuer knows."""
        key = (merchant_id, user_id)
        kept = self._kept.get(key)
        # A clock that was put back must not make it last longer.
        if kept is not None and timedelta(0) <= now - kept.read_at < STALE_AFTER:
            return kept.standing
        user = await self._users.get(merchant_id, user_id)
        standing = None if user is None else Standing(user["status"] == "active", known_roles(user["roles"]))
        self._kept[key] = _Kept(standing, now)
        self._kept.move_to_end(key)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return standing

    def forget(self, merchant_id: str, user_id: str) -> None:
        """Have a person's standing read anew: it was changed."""
        self._kept.pop((merchant_id, user_id), None)
