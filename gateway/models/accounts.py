from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StrictBool

from gateway.models.base import AnswerModel, DocumentId, InputModel
from gateway.models.business_hours import BusinessHours
from gateway.models.paging import Paging

AccountStatus = Literal["active", "inactive", "error"]
_OAuthText = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[\x21-\x7e]+$", repr=False)]


class ConnectAccount(InputModel):
    """OAuth 1.0a tokens of the X account."""

    oauth_token: _OAuthText
    oauth_token_secret: _OAuthText


class AccountQuery(Paging):
    """Which accounts are asked for."""

    status: AccountStatus | None = None


class ChangeAccount(InputModel):
    """Settings to change; those that are not given stay as they are."""

    auto_reply_enabled: StrictBool = False
    business_hours: BusinessHours = BusinessHours()


class AccountAnswer(AnswerModel):
    """A connected X account."""

    id: DocumentId
    merchant_id: str
    twitter_user_id: str
    username: str
    display_name: str
    profile_image_url: str | None
    status: AccountStatus
    status_reason: str | None
    webhook_id: str | None
    auto_reply_enabled: bool
    business_hours: dict[str, object]
    connected_at: datetime
    disconnected_at: datetime | None


class AccountStatistics(AnswerModel):
    """How much an account has to do; the month is the calendar's, in UTC."""

    total_contacts: int
    total_conversations: int
    messages_this_month: int


class AccountDetails(AccountAnswer):
    """A connected X account with its statistics."""

    statistics: AccountStatistics


class LimitWindow(AnswerModel):
    """One window of an account's sending budget; `resetsAt` is null while nothing of it is used."""

    name: str
    limit: int
    used: int
    remaining: int
    resets_at: datetime | None


class AccountLimits(AnswerModel):
    """Every window that an account's sending is held to."""

    windows: list[LimitWindow]
