"""What there is to tell of changes, as those know it who also answer REST calls.

Which changes are events, and what they look like, is one matter with what the API shows; the actors that deliver are
given it by the program.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from storage.change_position import Position
from storage.changes import Change, Changes, Watched
from storage.client import Database
from storage.webhook_deliveries import SubjectDocument

#: Told where changes were missed, and for `POST …/test`; both are about nothing else.
RESET: Final = "reset"
TEST: Final = "webhook.test"


@dataclass(frozen=True, slots=True)
class Happened:
    """An event: what happened to which document of whom."""

    event: str
    subject: SubjectDocument
    position: Position
    merchant_id: str
    account_id: str | None
    contact_id: str | None


class WebhookEvents(Protocol):
    """Knows the events; holds nothing, since it travels to the hosts."""

    def watched(self, events: Collection[str], merchants: Collection[str]) -> Sequence[Watched]:
        """Return what must be watched to see some events of some merchants."""
        ...

    async def happened(
        self, changes: Changes, batch: Sequence[Change], merchants: Collection[str]
    ) -> Sequence[Happened]:
        """Return what a batch of changes is to some merchants, in order.

        Raises:
            PyMongoError: when the database can't be reached.
        """
        ...

    async def data(self, database: Database, merchant_id: str, subject: SubjectDocument) -> bytes | None:
        """Return what REST answers for a document now, as JSON; nothing where it is gone.

        Raises:
            PyMongoError: when the database can't be reached.
        """
        ...
