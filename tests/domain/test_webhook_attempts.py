from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.public_links import LinkRefused
from domain.webhook_address import check_address
from domain.webhook_attempts import (
    JITTER,
    MOST_ATTEMPTS,
    PAUSES,
    Verdict,
    asked_pause,
    is_hopeless,
    next_attempt,
    verdict_on,
)

NOW = datetime(2026, 11, 2, 8, tzinfo=UTC)
NO_WISH = timedelta()


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, Verdict.DELIVERED),
        (204, Verdict.DELIVERED),
        (299, Verdict.DELIVERED),
        (199, Verdict.AGAIN),
        (301, Verdict.AGAIN),
        (400, Verdict.AGAIN),
        (404, Verdict.AGAIN),
        (410, Verdict.GONE),
        (429, Verdict.AGAIN),
        (500, Verdict.AGAIN),
        (None, Verdict.AGAIN),
    ],
)
def test_what_an_answer_means(status: int | None, verdict: Verdict) -> None:
    assert verdict_on(status) is verdict


def test_the_schedule_is_the_one_of_the_specification() -> None:
    due = [next_attempt(failures, NOW, 0, NO_WISH) for failures in range(1, MOST_ATTEMPTS + 1)]
    seconds = [(each - NOW).total_seconds() if each else None for each in due]
    assert seconds == [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400, None]


@given(st.integers(1, MOST_ATTEMPTS - 1), st.floats(0, 1), st.floats(0, 2 * 86_400))
def test_a_pause_is_neither_shorter_than_the_schedule_nor_than_what_is_asked_for(
    failures: int, jitter: float, asked_s: float
) -> None:
    asked = timedelta(seconds=asked_s)
    due_at = next_attempt(failures, NOW, jitter, asked)
    assert due_at is not None
    pause = due_at - NOW
    assert pause >= max(PAUSES[failures - 1], asked)
    assert pause <= max(PAUSES[failures - 1] * (1 + JITTER), asked)


def test_only_429_and_503_put_us_off_and_not_for_ever() -> None:
    assert asked_pause(429, 90) == timedelta(seconds=90)
    assert asked_pause(503, 90) == timedelta(seconds=90)
    assert asked_pause(500, 90) == timedelta()
    assert asked_pause(None, 90) == timedelta()
    assert asked_pause(429, 1e9) == timedelta(hours=24)


def test_an_endpoint_is_hopeless_after_five_days() -> None:
    assert not is_hopeless(NOW, NOW + timedelta(days=5, seconds=-1))
    assert is_hopeless(NOW, NOW + timedelta(days=5))


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example.com/hooks",
        "https://127.0.0.1/hooks",
        "https://10.0.0.1/hooks",
        "https://localhost/hooks",
        "https://shop.example.com:8443/hooks",
        "https://user:password@shop.example.com/hooks",
        "ftp://shop.example.com/hooks",
        "hooks",
    ],
)
def test_nothing_is_sent_but_to_public_https_addresses(url: str) -> None:
    with pytest.raises(LinkRefused):
        check_address(url, private_allowed=False)
    check_address("https://shop.example.com/hooks?key=1", private_allowed=False)
    check_address("http://127.0.0.1:8080/hooks", private_allowed=True)
