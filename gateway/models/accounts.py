from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StrictBool, StrictInt, model_validator

from domain.consent import DEFAULT_CONFIRMATION, normalised
from domain.frequency import HIGHEST_CAP
from gateway.models.base import AnswerModel, DocumentId, InputModel
from gateway.models.business_hours import BusinessHours, HourRange
from gateway.models.paging import Paging
from gateway.models.zones import TimeZoneName

AccountStatus = Literal["active", "inactive", "error"]
_OAuthText = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[\x21-\x7e]+$", repr=False)]


def _says_something(word: str) -> str:
    if not normalised(word):
        raise ValueError("has neither letters nor digits")
    return word.strip()


_Words = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=50), AfterValidator(_says_something)]],
    Field(min_length=1, max_length=200),
]


class ConnectAccount(InputModel):
    """OAuth 1.0a tokens of the X account."""

    oauth_token: _OAuthText
    oauth_token_secret: _OAuthText


class AccountQuery(Paging):
    """Which accounts are asked for."""

    status: AccountStatus | None = None


class QuietHoursInput(HourRange):
    """Hours in which no campaign writes to a contact, by the contact's clock."""

    timezone: Annotated[
        TimeZoneName | None, Field(description="Of contacts who have none; without it that of the business hours.")
    ] = None

    @model_validator(mode="after")
    def _not_all_day(self) -> Self:
        if (self.start, self.end) == ("00:00", "24:00"):
            raise ValueError("campaigns would wait for ever; pause them instead")
        return self


class ChangeAccount(InputModel):
    """Settings to change; those that are not given stay as they are."""

    auto_reply_enabled: StrictBool = False
    business_hours: BusinessHours = BusinessHours()
    require_consent: Annotated[
        StrictBool, Field(description="Send nothing automatic to contacts who have neither written nor agreed.")
    ] = False
    stop_words: Annotated[
        _Words | None, Field(description="Beside STOP and UNSUBSCRIBE; null: those that we know, in many languages.")
    ] = None
    start_words: Annotated[_Words | None, Field(description="null: those that we know.")] = None
    opt_out_confirmation: Annotated[
        Annotated[str, Field(min_length=1, max_length=1000)] | None,
        Field(description=f"What a contact who opts out is told, once. null: {DEFAULT_CONFIRMATION}"),
    ] = None
    quiet_hours: Annotated[QuietHoursInput | None, Field(description="null: none.")] = None
    campaign_messages_per_week: Annotated[
        StrictInt, Field(ge=0, le=HIGHEST_CAP, description="To one contact, in any seven days; 0: no cap.")
    ] = 0


class QuietHoursAnswer(AnswerModel):
    """Hours in which no campaign writes to a contact."""

    start: str
    end: str
    timezone: str | None = None


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
    require_consent: bool = False
    stop_words: list[str] | None = None
    start_words: list[str] | None = None
    opt_out_confirmation: str | None = None
    quiet_hours: QuietHoursAnswer | None = None
    campaign_messages_per_week: int = 0
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
