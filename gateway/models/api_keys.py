from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from gateway.models.base import AnswerModel, DocumentId, InputModel
from gateway.models.moments import Moment
from gateway.models.users import RoleList


class CreateApiKey(InputModel):
    """A key for a machine; without `expiresAt` it holds until it is revoked."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    roles: RoleList
    expires_at: Moment | None = None


class ApiKeyAnswer(AnswerModel):
    """A key of a machine: `prefix` is what it begins with; `lastUsedAt` is true to the minute."""

    id: DocumentId
    name: str
    prefix: str
    roles: list[str]
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class CreatedApiKey(ApiKeyAnswer):
    """A key that was made; `key` is shown this once and kept as a hash only."""

    key: Annotated[str, Field(repr=False)]
