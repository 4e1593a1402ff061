"""Who is calling, and what their roles allow (contract, part 3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a person may do for a merchant."""

    OWNER = "owner"
    ADMIN = "admin"
    AGENT = "agent"
    VIEWER = "viewer"


#: Every role reads.
READERS = frozenset(Role)
#: Conversations and contacts are an agent's work.
AGENTS = frozenset({Role.OWNER, Role.ADMIN, Role.AGENT})
#: Everything but owners.
ADMINS = frozenset({Role.OWNER, Role.ADMIN})


@dataclass(frozen=True, slots=True)
class Principal:
    """The person or program that a token speaks for."""

    user_id: str
    merchant_id: str
    roles: frozenset[Role]
