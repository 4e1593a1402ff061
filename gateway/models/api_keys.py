from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from domain.scopes import SCOPES
from gateway.models.base import AnswerModel, DocumentId, InputModel
from gateway.models.moments import Moment
from gateway.models.users import RoleList


def _known(scopes: list[str]) -> list[str]:
    if unknown := [scope for scope in scopes if scope not in SCOPES]:
        raise ValueError(f"there is no scope {unknown[0][:64]}")
    if len(set(scopes)) != len(scopes):
        raise ValueError("names a scope twice")
    return scopes


_Scopes = Annotated[
    list[str],
    Field(
        min_length=1,
        max_length=len(SCOPES),
        json_schema_extra={"uniqueItems": True, "items": {"type": "string", "enum": list(SCOPES)}},
        description="What the key is kept to, within its roles: an area of the API, to read or to write.",
    ),
    AfterValidator(_known),
]


class CreateApiKey(InputModel):
    """A key for a machine; without `expiresAt` it holds until it is revoked, without `scopes` its roles alone count."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    roles: RoleList
    scopes: _Scopes | None = None
    expires_at: Moment | None = None


class ApiKeyAnswer(AnswerModel):
    """A key of a machine: `prefix` is what it begins with; `lastUsedAt` is true to the minute."""

    id: DocumentId
    name: str
    prefix: str
    roles: list[str]
    scopes: list[str] | None = None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class CreatedApiKey(ApiKeyAnswer):
    """A key that was made; `key` is shown this once and kept as a hash only."""

    key: Annotated[str, Field(repr=False)]
