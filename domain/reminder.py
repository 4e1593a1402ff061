"""A wish of an actor to be woken, and the id it is kept under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Reminder:
    """Wake the actor (kind, key) at `due_at` (UTC); `name` tells an actor's reminders apart, `payload` comes along."""

    kind: str
    key: str
    name: str
    due_at: datetime
    payload: Mapping[str, object] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """One actor has one reminder of a name: setting it again moves it."""
        return f"{self.kind}|{self.key}|{self.name}"
