"""What an attempt to deliver an outgoing webhook means, and when the next one is due.

The schedule is the one that Standard Webhooks recommends ("Deliverability and reliability"): at once, then after 5 s,
5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h. Redirects are failures: a receiver that has moved says so to people.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus

#: The pauses after the first, second, … failed attempt; after the last one there is no other.
PAUSES = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
#: Attempts of one delivery.
MOST_ATTEMPTS = len(PAUSES) + 1
#: An endpoint that has done nothing but fail for so long is disabled.
PATIENCE = timedelta(days=5)
#: How far the moment of an attempt is moved at most, as a share of the pause, so that what failed together does not
#: come back together.
JITTER = 0.1
#: No receiver puts us off for longer at a time.
_LONGEST_WISH = timedelta(hours=24)
_MAY_ASK_TO_WAIT = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


class Verdict(StrEnum):
    """What an attempt means."""

    DELIVERED = "delivered"
    #: The receiver wants nothing more, ever: 410.
    GONE = "gone"
    AGAIN = "again"


def verdict_on(status: int | None) -> Verdict:
    """Return what an answer's status means; None where there was no answer."""
    if status is not None and HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Verdict.DELIVERED
    return Verdict.GONE if status == HTTPStatus.GONE else Verdict.AGAIN


def asked_pause(status: int | None, retry_after_s: float) -> timedelta:
    """Return how long a receiver asks for nothing more to be sent; zero where it does not, or may not."""
    if status not in _MAY_ASK_TO_WAIT:
        return timedelta()
    return min(timedelta(seconds=retry_after_s), _LONGEST_WISH)


def next_attempt(failures: int, failed_at: datetime, jitter: float, asked: timedelta) -> datetime | None:
    """Return when to try again after so many failed attempts (1…); None where that was the last one.

    `jitter` is a random number of 0…1. The receiver's wish to be left alone for `asked` is met in any case.
    """
    if failures >= MOST_ATTEMPTS:
        return None
    pause = PAUSES[failures - 1] * (1 + JITTER * jitter)
    return failed_at + max(pause, asked)


def is_hopeless(failing_since: datetime, now: datetime) -> bool:
    """Whether an endpoint has failed for so long that it is disabled."""
    return now - failing_since >= PATIENCE
