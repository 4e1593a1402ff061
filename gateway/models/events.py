from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from gateway.events.kinds import EVENTS
from gateway.models.base import NoQuery

_NAME = "|".join(re.escape(event) for event in EVENTS)


class EventQuery(NoQuery):
    """Which events are asked for; nothing named means all of them."""

    types: Annotated[
        str | None,
        Field(
            pattern=f"^(?:{_NAME})(?:,(?:{_NAME}))*$",
            max_length=500,
            description=f"Names of events, separated by commas: {', '.join(f'`{event}`' for event in EVENTS)}.",
        ),
    ] = None
    account_id: Annotated[str | None, Field(description="Only what happens to this account.")] = None

    @property
    def events(self) -> frozenset[str] | None:
        """The events that are asked for, None for all."""
        return None if self.types is None else frozenset(self.types.split(","))
