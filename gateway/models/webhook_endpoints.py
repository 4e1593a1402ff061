from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictInt

from domain.public_links import LONGEST_LINK
from gateway.events.kinds import EVENTS
from gateway.models.base import AnswerModel, DocumentId, InputModel
from gateway.models.paging import Paging
from storage.webhook_deliveries import DeliveryStatus
from storage.webhook_endpoints import DisabledBy

_LONGEST_DESCRIPTION = 500
_DAY_S = 86_400
_LONGEST_OVERLAP_S = 7 * _DAY_S


def _each_once(names: list[str]) -> list[str]:
    if len(set(names)) < len(names):
        raise ValueError("has an entry twice")
    return names


_EVENT_NAMES = "|".join(re.escape(event) for event in EVENTS)
_Event = Annotated[str, Field(pattern=f"^(?:{_EVENT_NAMES})$", examples=["message.created"])]
_Events = Annotated[
    list[_Event],
    Field(
        min_length=1,
        max_length=len(EVENTS),
        description=f"What to tell of: {', '.join(f'`{event}`' for event in EVENTS)}.",
    ),
    AfterValidator(_each_once),
]
_Url = Annotated[
    str, Field(min_length=1, max_length=LONGEST_LINK, description="Where events are posted: a public https address.")
]
_AccountId = Annotated[
    str | None,
    Field(min_length=1, max_length=64, description="Only what happens to this account; null: to any of the merchant."),
]
_Description = Annotated[str, Field(max_length=_LONGEST_DESCRIPTION)]


class CreateEndpoint(InputModel):
    """Somewhere to be told what happens."""

    url: _Url
    events: _Events
    account_id: _AccountId = None
    description: _Description = ""


class ChangeEndpoint(InputModel):
    """What to change; what isn't given stays. `active` after `disabled` begins with what happens from then on."""

    url: _Url = ""
    events: _Events = Field(default_factory=list)
    account_id: _AccountId = None
    description: _Description = ""
    status: Literal["active", "disabled"] = "active"


class RotateSecret(InputModel):
    """How long the former secrets hold beside the new one; 0 where one has got into wrong hands."""

    overlap_seconds: Annotated[StrictInt, Field(ge=0, le=_LONGEST_OVERLAP_S)] = _DAY_S

    @property
    def overlap(self) -> timedelta:
        """The same as a duration."""
        return timedelta(seconds=self.overlap_seconds)


class SecretAnswer(AnswerModel):
    """A secret that holds, without itself; `expiresAt` is there where another has replaced it."""

    id: str
    created_at: datetime
    expires_at: datetime | None


class EndpointAnswer(AnswerModel):
    """An endpoint; `statusReason` says why it is disabled, `failingSince` that nothing has succeeded since."""

    id: DocumentId
    url: str
    events: list[str]
    account_id: str | None
    description: str
    status: Literal["active", "disabled"]
    status_reason: DisabledBy | None
    failing_since: datetime | None
    secrets: list[SecretAnswer]
    created_at: datetime
    updated_at: datetime


class EndpointWithSecret(EndpointAnswer):
    """An endpoint with its new secret, which is shown this once and kept encrypted."""

    secret: Annotated[str, Field(repr=False)]


class DeliveryQuery(Paging):
    """Which deliveries are asked for."""

    status: DeliveryStatus | None = None
    type: Annotated[str | None, Field(min_length=1, max_length=64, description="Events of this name.")] = None


class AttemptAnswer(AnswerModel):
    """A try: the status that was answered, or why none was, and how the answer of a failure begins (1 KiB at most)."""

    at: datetime
    status: int | None
    error: str | None
    milliseconds: int
    answer: str | None


class DeliveryAnswer(AnswerModel):
    """An event for the endpoint; its `id` is what is sent as `webhook-id`."""

    id: Annotated[str, Field(validation_alias="eventId", serialization_alias="id")]
    type: str
    happened_at: datetime
    status: DeliveryStatus
    reason: Annotated[str | None, Field(description="Why it was not delivered.")]
    attempts: int
    next_attempt_at: Annotated[datetime | None, Field(validation_alias="dueAt", serialization_alias="nextAttemptAt")]
    last_attempt: AttemptAnswer | None
    created_at: datetime
    ended_at: datetime | None
