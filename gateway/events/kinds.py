"""Which changes of which collections are told to merchants, as what.

A collection more is one more `Kind` here: its events are then in the description, in the query's `types`, in the
streams, and resumed. A collection that does not exist yet does no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from pydantic import BaseModel

from gateway.models.base import AnswerModel, DocumentId
from gateway.models.campaigns import CampaignState
from gateway.models.conversations import ConversationAnswer
from gateway.models.flow_executions import ExecutionState
from gateway.models.messages import MessageAnswer
from storage.changes import Change, Watched

_ANY: Final = object()
#: What streams need of every document besides what they show.
_ROUTING = ("merchantId", "accountId")


class ErasedContact(AnswerModel):
    """A contact that was erased with everything about it."""

    id: DocumentId
    account_id: str
    completed_at: datetime


@dataclass(frozen=True, slots=True)
class Named:
    """An event for an update that sets a field, to a certain value where one is given."""

    event: str
    field: str
    value: object = _ANY

    def fits(self, updated: Mapping[str, object]) -> bool:
        """Whether an update is of this kind."""
        return self.field in updated and (self.value is _ANY or updated[self.field] == self.value)


@dataclass(frozen=True, slots=True)
class Kind:
    """The events of a collection.

    `created` is for new documents; an update is the first of `named` that fits, else `otherwise`, else no event.
    `answer` is the model that REST answers with, or that of the part of it which a document holds. Documents that
    don't meet `shown` are never told of.
    """

    collection: str
    created: str
    answer: type[BaseModel]
    named: tuple[Named, ...] = ()
    otherwise: str | None = None
    shown: Mapping[str, object] = field(default_factory=dict)

    @property
    def with_contact(self) -> bool:
        """Whether the answer shows the names of the document's contact."""
        return "contact" in self.answer.model_fields

    @property
    def events(self) -> tuple[str, ...]:
        """Every event of this kind."""
        names = (self.created, *(named.event for named in self.named), self.otherwise)
        return tuple(dict.fromkeys(name for name in names if name is not None))

    @property
    def watched(self) -> Watched:
        """What the change stream must show."""
        shown = (str(each.validation_alias or name) for name, each in self.answer.model_fields.items())
        return Watched(
            self.collection,
            fields=tuple(dict.fromkeys((*shown, *_ROUTING))),
            changes=tuple(dict.fromkeys(named.field for named in self.named)),
            any_change=self.otherwise is not None,
            shown=self.shown,
        )

    def event_of(self, change: Change) -> str | None:
        """Return the event that a change is."""
        if change.inserted is not None:
            return self.created
        return next((named.event for named in self.named if named.fits(change.updated)), self.otherwise)


KINDS: Mapping[str, Kind] = {
    kind.collection: kind
    for kind in (
        Kind(
            "messages",
            created="message.created",
            answer=MessageAnswer,
            named=(Named("message.updated", "status"),),
            # What is left of an erased message so that X's next delivery of it is known.
            shown={"status": {"$ne": "erased"}},
        ),
        Kind(
            "conversations",
            created="conversation.opened",
            answer=ConversationAnswer,
            named=(
                Named("conversation.closed", "status", "closed"),
                Named("conversation.assigned", "assignedToUserId"),
                Named("conversation.escalated", "escalated", True),
                Named("conversation.handed_back", "escalated", False),
            ),
            otherwise="conversation.updated",
        ),
        Kind(
            "campaigns",
            created="campaign.created",
            answer=CampaignState,
            named=(Named("campaign.moved", "status"),),
            otherwise="campaign.updated",
        ),
        Kind(
            "flowExecutions",
            created="execution.started",
            answer=ExecutionState,
            named=(
                Named("execution.completed", "status", "completed"),
                Named("execution.failed", "status", "failed"),
                Named("execution.cancelled", "status", "cancelled"),
                Named("execution.resumed", "status", "running"),
            ),
        ),
        Kind("erasureReceipts", created="contact.erased", answer=ErasedContact),
    )
}

#: What a client is told when it can't be told what it has missed.
RESET: Final = "reset"
#: Every event that can be asked for by name.
EVENTS: tuple[str, ...] = tuple(event for kind in KINDS.values() for event in kind.events)
