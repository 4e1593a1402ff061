"""How long answers took, kept so that counts of different hours, accounts and writers can be added up.

A bucket holds the durations from `1.1 ** n` to `1.1 ** (n + 1)` seconds, and is shown as the value in the middle of
these (by ratio), so that a quantile is at most 4.9 % off. Durations under a second have a bucket of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, floor, log, sqrt

#: Each bucket's upper bound over its lower one.
RATIO = 1.1
#: The bucket of durations under a second.
INSTANT = "0"
#: No duration is longer than thirty years, in seconds.
_LONGEST = 30 * 365 * 86_400


def bucket_of(seconds: float) -> str:
    """Return the name of the bucket that a duration is counted in."""
    if seconds < 1:
        return INSTANT
    return str(1 + floor(log(min(seconds, _LONGEST)) / log(RATIO) + 1e-9))


def seconds_of(bucket: str) -> float:
    """Return the duration (in seconds) that a bucket stands for."""
    number = int(bucket)
    return 0.0 if number == 0 else RATIO ** (number - 1) * sqrt(RATIO)


def quantile(counts: Mapping[str, int], share: Fraction) -> float | None:
    """Return the duration (in seconds) that a share of all does not exceed, by nearest rank; None where there is none.

    `counts` is how many durations are in each bucket, by name; the share is over 0 and at most 1.
    """
    total = sum(counts.values())
    if total <= 0:
        return None
    rank = max(1, ceil(share * total))
    reached = 0
    for bucket in sorted(counts, key=int):
        reached += counts[bucket]
        if reached >= rank:
            return seconds_of(bucket)
    raise AssertionError("the counts of all buckets are fewer than their sum")
