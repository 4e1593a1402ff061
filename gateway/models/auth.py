from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gateway.models.base import AnswerModel, InputModel
from gateway.passwords import LONGEST


class Login(InputModel):
    """Credentials of a person."""

    email: Annotated[str, Field(min_length=1, max_length=254)]
    password: Annotated[str, Field(min_length=1, max_length=1024, repr=False)]


class RefreshToken(InputModel):
    """A refresh token as it was issued."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=512, repr=False)]


NewPassword = Annotated[str, Field(min_length=1, max_length=LONGEST, repr=False, examples=["correct horse battery"])]


class ChangePassword(InputModel):
    """A person's present password and the one that they want."""

    old_password: Annotated[str, Field(min_length=1, max_length=LONGEST, repr=False)]
    new_password: NewPassword


class ResetPassword(InputModel):
    """The token that an administrator was given for a person, and the password that the person wants."""

    token: Annotated[str, Field(min_length=1, max_length=512, repr=False)]
    new_password: NewPassword


class TokenPair(AnswerModel):
    """An access token and the refresh token that gets the next one; `expiresIn` in seconds."""

    access_token: Annotated[str, Field(repr=False)]
    refresh_token: Annotated[str, Field(repr=False)]
    expires_in: int
