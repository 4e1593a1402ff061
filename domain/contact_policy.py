"""What an account's settings say of automatic messages to its contacts: to whom, how often, at what hours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self, TypeAlias, cast

from domain.campaign_outcomes import Remembered
from domain.consent import Refusal, refusal
from domain.frequency import QuietHours, next_allowed, over_cap, zone_of
from domain.variants import CONTROL

HeldBack: TypeAlias = Refusal | Literal["frequency_cap"]


@dataclass(frozen=True, slots=True)
class ContactPolicy:
    """The settings of one account; `timezone` is that of contacts who have none of their own."""

    require_consent: bool
    campaigns_per_week: int
    quiet: QuietHours | None
    timezone: object

    @classmethod
    def of(cls, account: Mapping[str, object]) -> Self:
        """Return the policy of an account's document; what it has not set is off."""
        quiet = account.get("quietHours")
        hours = account.get("businessHours")
        return cls(
            require_consent=account.get("requireConsent") is True,
            campaigns_per_week=cast("int", account.get("campaignMessagesPerWeek", 0)),
            quiet=QuietHours.of(quiet) if isinstance(quiet, Mapping) else None,
            timezone=hours.get("timezone") if isinstance(hours, Mapping) else None,
        )

    def refusal(self, contact: Mapping[str, object], source: str, now: datetime) -> HeldBack | None:
        """Return why an automatic message of this source is not sent to a contact, or None where it is."""
        refused = refusal(contact, require_consent=self.require_consent)
        if refused is None and source == "campaign" and over_cap([*_sent(contact)], now, self.campaigns_per_week):
            return "frequency_cap"
        return refused

    def next_allowed(self, contact: Mapping[str, object], now: datetime) -> datetime:
        """Return the next moment at which a campaign may write to a contact: now, or the end of the quiet hours.

        They are kept by the clock of the contact's attribute `timezone`, else of the quiet hours' own time zone, else
        of the business hours', else by UTC.
        """
        if self.quiet is None:
            return now
        attributes = contact.get("attributes")
        own = attributes.get("timezone") if isinstance(attributes, Mapping) else None
        return next_allowed(now, zone_of((own, self.quiet.timezone, self.timezone)), self.quiet)


def _sent(contact: Mapping[str, object]) -> Iterator[datetime]:
    """Yield when a contact was sent messages of campaigns."""
    for each in cast("list[Remembered]", contact.get("recentCampaigns") or []):
        if each["variant"] != CONTROL:
            yield each["at"]
