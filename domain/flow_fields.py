"""Reads the fields of a flow's parts, each checked, and notes everything that is wrong by its path.

A flow is refused with every problem listed (contract, part 5, "Flows"), so nothing here stops at the first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TypeVar

from domain.errors import Problem
from domain.segment_moments import read_moment

LONGEST_ID = 64
_LONGEST_SHOWN = 64
_T = TypeVar("_T")


class Fields:
    """The fields of one JSON object, asked for one by one; those that nobody asked for are not known.

    What is wrong is noted in `problems`, under `path`, and answered with a default, so that reading goes on.
    """

    def __init__(self, given: object, path: str, problems: list[Problem]) -> None:
        self.path = path
        self._problems = problems
        self._given: Mapping[str, object] = {}
        self._asked: set[str] = set()
        if isinstance(given, dict):
            self._given = given
        else:
            self.note("", "must be an object")

    def note(self, name: str, reason: str) -> None:
        """Note that a field is wrong; an empty name stands for the object as a whole."""
        self._problems.append(Problem(f"{self.path}.{name}" if name else self.path, reason))

    def has(self, name: str, *, even_null: bool = False) -> bool:
        """Whether a field is given; null is as if it were not, unless that is asked for."""
        self._asked.add(name)
        return name in self._given and (even_null or self._given[name] is not None)

    def take(self, name: str) -> object:
        """Return a field as it is; None where it is not given."""
        self._asked.add(name)
        return self._given.get(name)

    def text(self, name: str, longest: int) -> str:
        """Return a text that must be given and is not empty."""
        value = self.take(name)
        if not isinstance(value, str) or not value.strip() or len(value) > longest:
            self.note(name, f"must be text of 1 to {longest} characters")
            return ""
        return value

    def optional_text(self, name: str, longest: int) -> str | None:
        """Return a text that is not empty; None where it is not given."""
        return self.text(name, longest) if self.has(name) else None

    def whole(self, name: str, least: int, most: int, default: int | None = None) -> int:
        """Return a whole number within bounds; without a default it must be given."""
        value = self.take(name)
        if value is None and default is not None:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.note(name, f"must be a whole number from {least} to {most}")
            return least
        return value

    def moment(self, name: str) -> datetime | None:
        """Return a time; None where it is not given, or noted as wrong."""
        value = self.take(name)
        moment = read_moment(value) if isinstance(value, str) else None
        if moment is None and value is not None:
            self.note(name, "must be a time as in 2026-01-18T10:00:00Z")
        return moment

    def choice(self, name: str, known: tuple[str, ...], default: str | None = None) -> str:
        """Return one of several words; without a default it must be given."""
        value = self.take(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str) or value not in known:
            self.note(name, f"must be one of {', '.join(known)}")
            return known[0]
        return value

    def checked(self, name: str, check: Callable[[str], _T]) -> _T | None:
        """Return what a check makes of a text that must be given; its `ValueError` is the reason where it refuses."""
        value = self.take(name)
        if not isinstance(value, str):
            self.note(name, "must be text")
            return None
        try:
            return check(value)
        except ValueError as error:
            self.note(name, str(error))
            return None

    def entries(self, name: str, most: int) -> Iterator[tuple[str, object]]:
        """Yield the entries of an object of at most so many; none where it is not given."""
        value = self.take(name)
        if value is None:
            return
        if not isinstance(value, dict) or len(value) > most:
            self.note(name, f"must be an object of at most {most} entries")
            return
        yield from value.items()

    def close(self) -> None:
        """Note every field that nobody asked for."""
        for name in self._given:
            if name not in self._asked:
                self.note(str(name)[:_LONGEST_SHOWN], "is not known")
