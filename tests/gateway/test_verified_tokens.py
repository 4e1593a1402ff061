from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from pydantic import SecretStr

import gateway.verified_tokens
from config.settings import Settings
from domain.clock import ManualClock, SystemClock
from domain.errors import Unauthenticated
from domain.roles import Role
from gateway.principal import Principal
from gateway.tokens import AccessTokens
from gateway.verified_tokens import VerifiedTokens

SOMEBODY = Principal("user", "merchant", frozenset({Role.AGENT}))
SECRET = "a-secret-for-tests-of-at-least-32-bytes"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(SystemClock().now())


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note each token whose signature is looked at."""
    seen: list[str] = []
    decode = jwt.decode

    def noting(token: str, *arguments: Any, **named: Any) -> Any:
        seen.append(token)
        return decode(token, *arguments, **named)

    monkeypatch.setattr(jwt, "decode", noting)
    return seen


async def test_a_token_is_verified_once(clock: ManualClock, decoded: list[str]) -> None:
    tokens = AccessTokens(Settings(jwt_secret=SecretStr(SECRET)), clock)
    token = tokens.issue("user", "merchant", ["agent"])
    for _ in range(3):
        assert await tokens.verify(token) == SOMEBODY
    assert decoded == [token]


def test_a_token_is_remembered_until_it_expires_and_no_longer(clock: ManualClock) -> None:
    kept, ends = VerifiedTokens(clock), datetime(2026, 1, 18, 10, 0, tzinfo=UTC)
    kept.keep("token", SOMEBODY, int(ends.timestamp()))
    clock.set(ends - timedelta(milliseconds=1))
    assert kept.get("token") == SOMEBODY
    clock.set(ends)
    assert kept.get("token") is None
    clock.set(ends - timedelta(milliseconds=1))
    assert kept.get("token") is None


async def test_where_an_issuer_elsewhere_may_withdraw_its_key_tokens_are_verified_each_time(
    clock: ManualClock, decoded: list[str]
) -> None:
    settings = Settings(jwt_secret=SecretStr(SECRET), jwt_jwks_url="http://127.0.0.1:9/keys")
    tokens = AccessTokens(settings, clock)
    token = tokens.issue("user", "merchant", ["agent"])
    for _ in range(2):
        assert await tokens.verify(token) == SOMEBODY
    assert decoded == [token, token]


async def test_a_token_that_does_not_hold_is_not_remembered(clock: ManualClock, decoded: list[str]) -> None:
    tokens = AccessTokens(Settings(jwt_secret=SecretStr(SECRET)), clock)
    wrong = jwt.encode({**_claims(), "exp": int(time.time()) + 60}, SECRET + "x", algorithm="HS256")
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await tokens.verify(wrong)
    assert decoded == [wrong, wrong]


async def test_a_token_that_names_nobody_is_not_remembered(clock: ManualClock, decoded: list[str]) -> None:
    tokens = AccessTokens(Settings(jwt_secret=SecretStr(SECRET)), clock)
    claims = {**_claims(), "merchantId": "", "exp": int(time.time()) + 60}
    nobody = jwt.encode(claims, SECRET, algorithm="HS256")
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await tokens.verify(nobody)
    assert decoded == [nobody, nobody]


def test_the_least_recently_used_is_forgotten_first(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.verified_tokens, "_MOST_KEPT", 2)
    kept, ends = VerifiedTokens(clock), int(clock.now().timestamp()) + 60
    for name in ("a", "b"):
        kept.keep(name, replace(SOMEBODY, user_id=name), ends)
    assert kept.get("a") == replace(SOMEBODY, user_id="a")
    kept.keep("c", SOMEBODY, ends)
    assert kept.get("b") is None
    assert kept.get("a") == replace(SOMEBODY, user_id="a")


def _claims() -> dict[str, object]:
    return {"sub": "user", "merchantId": "merchant", "roles": ["agent"]}
