"""Who has entered and left a segment: two sorted lists of contacts, compared part by part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """What a part shows; `upto` is the last id that it is about, None where there is none beyond it."""

    entered: tuple[str, ...]
    left: tuple[str, ...]
    upto: str | None


def compared(present: Sequence[str], known: Sequence[str], most: int) -> Change:
    """Compare the next contacts of a segment with the next of those who were in it.

    Args:
        present: ids of those who meet the conditions now, sorted, the next `most` or all that are left.
        known: the same of those who were noted before.
        most: how many a part has that may not be the last.
    """
    ends = [part[-1] for part in (present, known) if len(part) >= most]
    upto = min(ends) if ends else None
    now = {each for each in present if upto is None or each <= upto}
    before = {each for each in known if upto is None or each <= upto}
    return Change(tuple(sorted(now - before)), tuple(sorted(before - now)), upto)
