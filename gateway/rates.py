from __future__ import annotations


def rate(part: int, whole: int) -> float:
    """Return a share as the API shows it: 0 to 1 with two decimals, 0 where there is nothing to have a share of."""
    return round(min(1.0, max(0.0, part / whole)), 2) if whole > 0 else 0.0
