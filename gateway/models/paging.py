from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gateway.models.base import InputModel
from storage.paging import Slice

#: MongoDB skips entry by entry; nobody reads further than this page by page.
_MOST_SKIPPED = 10_000_000


class Paging(InputModel):
    """Which part of a list is asked for (contract, part 2)."""

    skip: Annotated[int, Field(ge=0, le=_MOST_SKIPPED, description="Entries to leave out.")] = 0
    take: Annotated[int, Field(ge=1, le=100, description="Entries to answer at most.")] = 20

    @property
    def part(self) -> Slice:
        """The same for a repository."""
        return Slice(self.skip, self.take)
