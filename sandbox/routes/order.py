"""A request of the control API."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.body import JsonObject
from sandbox.world import World

#: Does what a body or query says, and returns what is answered.
Order = Callable[[World, JsonObject], object]


class WrongOrder(Exception):
    """A control request can't be done; the text says why."""
