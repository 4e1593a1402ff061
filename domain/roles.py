"""Who stands above whom among the people of a merchant (contract, part 3): owner, admin, agent, viewer."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from domain.errors import NotAllowed


class Role(StrEnum):
    """What a person may do for a merchant."""

    OWNER = "owner"
    ADMIN = "admin"
    AGENT = "agent"
    VIEWER = "viewer"


_RANKS = {Role.VIEWER: 1, Role.AGENT: 2, Role.ADMIN: 3, Role.OWNER: 4}


def known_roles(names: Iterable[str]) -> frozenset[Role]:
    """Return the roles among some names."""
    return frozenset(Role(name) for name in names if name in set(Role))


def rank(roles: Iterable[Role]) -> int:
    """Return how high the highest of some roles stands; 0 without any."""
    return max((_RANKS[role] for role in roles), default=0)


def capped(roles: frozenset[Role], most: frozenset[Role]) -> frozenset[Role]:
    """Return roles of which none stands above the highest of `most`: higher ones become that one."""
    if not most:
        return frozenset()
    highest = max(most, key=_RANKS.__getitem__)
    return frozenset(role if _RANKS[role] <= _RANKS[highest] else highest for role in roles)


def check_may_manage(caller: frozenset[Role], before: frozenset[Role], after: frozenset[Role]) -> None:
    """Check that a caller may give somebody, or something, with the roles `before` the roles `after`.

    Raises:
        NotAllowed: when either stands above the caller; owners are managed by owners alone.
    """
    if max(rank(before), rank(after)) > rank(caller):
        raise NotAllowed("Your role does not allow this for a higher one")


def check_does_not_rise(before: frozenset[Role], after: frozenset[Role]) -> None:
    """Check that a change to the caller's own roles raises nobody.

    Raises:
        NotAllowed: when it does.
    """
    if rank(after) > rank(before):
        raise NotAllowed("Nobody raises their own role")
