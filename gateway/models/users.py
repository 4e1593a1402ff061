from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from domain.roles import Role
from gateway.models.base import AnswerModel, DocumentId, InputModel
from gateway.models.paging import Paging

UserStatus = Literal["active", "disabled"]


def _each_once(roles: list[Role]) -> list[Role]:
    if len(set(roles)) != len(roles):
        raise ValueError("names a role twice")
    return roles


RoleList = Annotated[
    list[Role],
    Field(min_length=1, max_length=len(Role), json_schema_extra={"uniqueItems": True}),
    AfterValidator(_each_once),
]
_Name = Annotated[str, Field(min_length=1, max_length=200)]


class UserQuery(Paging):
    """Which people are asked for: all conditions hold."""

    status: UserStatus | None = None
    role: Role | None = None


class InviteUser(InputModel):
    """A person who is to work for the merchant; the address is unique over all merchants."""

    email: Annotated[str, Field(max_length=254, pattern=r"^[^@\s\x00-\x20]+@[^@\s\x00-\x20]+$")]
    name: _Name
    roles: RoleList


class ChangeUser(InputModel):
    """What to change of a person; what is not given stays as it is."""

    name: _Name = "-"
    roles: RoleList = Field(default_factory=lambda: [Role.VIEWER])
    status: UserStatus = "active"


class UserAnswer(AnswerModel):
    """A person who works for the merchant."""

    id: DocumentId
    email: str
    name: str
    roles: list[str]
    status: UserStatus
    created_at: datetime


class PasswordReset(AnswerModel):
    """A token by which a person sets a new password, once; it is shown this once and kept as a hash only."""

    token: Annotated[str, Field(repr=False)]
    expires_at: datetime


class InvitedUser(UserAnswer):
    """A person who was invited; the password to log in with is shown this once and kept as a hash only."""

    initial_password: Annotated[str, Field(repr=False)]
