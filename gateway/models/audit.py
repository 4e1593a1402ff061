from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from gateway.models.base import AnswerModel, DocumentId
from gateway.models.moments import Moment
from gateway.models.paging import Paging


class AuditQuery(Paging):
    """Which entries are asked for: all conditions hold."""

    actor: Annotated[str | None, Field(max_length=200, description="Id of a user or an API key.")] = None
    action: Annotated[str | None, Field(max_length=200, description="As entries show it: PUT /users/{userId}.")] = None
    since: Annotated[Moment | None, Field(alias="from", description="The earliest time.")] = None
    until: Annotated[Moment | None, Field(alias="to", description="The time before which entries are.")] = None


class AuditActor(AnswerModel):
    """Who did it: a person, or a machine with an API key."""

    kind: Literal["user", "key"]
    id: str


class AuditEntryAnswer(AnswerModel):
    """One change.

    `targets` are the ids of the path by name, `createdId` is that of what was made, `fields` are the names of what the
    request's body gave, and `address` is where it came from.
    """

    id: DocumentId
    merchant_id: str
    at: datetime
    actor: AuditActor
    action: str
    targets: dict[str, str]
    created_id: str | None = None
    fields: Annotated[list[str], Field(default_factory=list)]
    request_id: str
    address: str
    status: int
