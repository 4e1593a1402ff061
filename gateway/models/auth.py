from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gateway.models.base import AnswerModel, InputModel


class Login(InputModel):
    """Credentials of a person."""

    email: Annotated[str, Field(min_length=1, max_length=254)]
    password: Annotated[str, Field(min_length=1, max_length=1024, repr=False)]


class RefreshToken(InputModel):
    """A refresh token as it was issued."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=512, repr=False)]


class TokenPair(AnswerModel):
    """An access token and the refresh token that gets the next one; `expiresIn` in seconds."""

    access_token: Annotated[str, Field(repr=False)]
    refresh_token: Annotated[str, Field(repr=False)]
    expires_in: int
