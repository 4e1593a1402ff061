from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import NotAllowed
from domain.roles import Role, capped, check_does_not_rise, check_may_manage, known_roles, rank

ROLES = st.frozensets(st.sampled_from(list(Role)))


@given(ROLES, ROLES)
def test_what_is_capped_stands_no_higher_than_the_cap_nor_than_before(
    roles: frozenset[Role], most: frozenset[Role]
) -> None:
    result = capped(roles, most)
    assert rank(result) == min(rank(roles), rank(most))
    assert {role for role in roles if rank({role}) <= rank(most)} <= result


@given(ROLES, ROLES, ROLES)
def test_nobody_manages_what_stands_above_them(
    caller: frozenset[Role], before: frozenset[Role], after: frozenset[Role]
) -> None:
    above = any(rank({role}) > rank(caller) for role in before | after)
    if above:
        with pytest.raises(NotAllowed):
            check_may_manage(caller, before, after)
    else:
        check_may_manage(caller, before, after)


def test_the_order_is_owner_admin_agent_viewer() -> None:
    ranks = [rank({role}) for role in (Role.OWNER, Role.ADMIN, Role.AGENT, Role.VIEWER)]
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) == 4
    assert rank(()) < min(ranks)


def test_names_that_are_no_roles_give_none() -> None:
    assert known_roles(["owner", "root", ""]) == {Role.OWNER}


def test_one_may_lower_but_not_raise_oneself() -> None:
    check_does_not_rise(frozenset({Role.ADMIN}), frozenset({Role.VIEWER}))
    check_does_not_rise(frozenset({Role.ADMIN}), frozenset({Role.ADMIN, Role.VIEWER}))
    with pytest.raises(NotAllowed):
        check_does_not_rise(frozenset({Role.AGENT}), frozenset({Role.AGENT, Role.ADMIN}))
