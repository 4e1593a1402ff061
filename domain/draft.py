"""A document as it will be, and what of it is to be written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Document = dict[str, Any]


@dataclass(slots=True)
class Draft:
    """A document as it will be, and how to get it there: inserted whole, or changed field by field."""

    document: Document
    is_new: bool
    changes: Document = field(default_factory=dict)
    increments: dict[str, int] = field(default_factory=dict)

    def put(self, name: str, value: object) -> None:
        """Set a field."""
        self.document[name] = value
        if not self.is_new:
            self.changes[name] = value
            self.increments.pop(name, None)

    def add(self, name: str, amount: int) -> None:
        """Add to a counter."""
        self.document[name] = self.document.get(name, 0) + amount
        if name in self.changes:
            self.changes[name] = self.document[name]
        elif not self.is_new:
            self.increments[name] = self.increments.get(name, 0) + amount

    @property
    def is_changed(self) -> bool:
        """Whether there is anything to write to an existing document."""
        return bool(self.changes or self.increments)
