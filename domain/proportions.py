"""How sure a rate is: intervals of proportions, at 95 per cent."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Interval:
    """Where a value lies, with 95 per cent confidence."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """How much larger one rate is than another, and whether that can't well be chance."""

    value: float
    interval: Interval
    significant: bool


def wilson(successes: int, trials: int) -> Interval:
    """Return the interval of a rate after Wilson (1927); everything is possible where nothing was tried.

    More successes than trials are as many: a link may be followed before X has confirmed that the message was sent.
    """
    if trials <= 0:
        return Interval(0.0, 1.0)
    rate = _rate(successes, trials)
    weight = _Z * _Z / trials
    centre = (rate + weight / 2) / (1 + weight)
    half = _Z * sqrt(rate * (1 - rate) / trials + weight / (4 * trials)) / (1 + weight)
    # At the ends, a rate equals its bound, but for what rounding adds.
    return Interval(max(0.0, min(rate, centre - half)), min(1.0, max(rate, centre + half)))


def difference(successes: int, trials: int, other_successes: int, other_trials: int) -> Difference:
    """Return how much larger the first rate is, after Newcombe (1998, method 10)."""
    first, other = _rate(successes, trials), _rate(other_successes, other_trials)
    mine, theirs = wilson(successes, trials), wilson(other_successes, other_trials)
    value = first - other
    low = value - sqrt((first - mine.low) ** 2 + (theirs.high - other) ** 2)
    high = value + sqrt((mine.high - first) ** 2 + (other - theirs.low) ** 2)
    return Difference(value, Interval(max(-1.0, low), min(1.0, high)), significant=low > 0 or high < 0)


def _rate(successes: int, trials: int) -> float:
    return min(max(successes / trials, 0.0), 1.0) if trials > 0 else 0.0
