"""Who is calling, and what their roles allow (contract, part 3)."""

from __future__ import annotations

from dataclasses import dataclass

from domain.roles import Role

__all__ = ["ADMINS", "AGENTS", "READERS", "Principal", "Role"]


#: Every role reads.
READERS = frozenset(Role)
#: Conversations and contacts are an agent's work.
AGENTS = frozenset({Role.OWNER, Role.ADMIN, Role.AGENT})
#: Everything but owners.
ADMINS = frozenset({Role.OWNER, Role.ADMIN})


@dataclass(frozen=True, slots=True)
class Principal:
    """The person that a token speaks for, or the machine that has an API key.

    A machine has `key_id`, and the person who made its key as `user_id`; `scopes` where its key is kept to some.
    """

    user_id: str
    merchant_id: str
    roles: frozenset[Role]
    key_id: str | None = None
    scopes: frozenset[str] | None = None
    #: The program's own calls don't use up a merchant's limit.
    uncounted: bool = False
