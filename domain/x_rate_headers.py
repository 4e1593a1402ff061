"""What X's answers say about its limits (x-api, 3.3): the 15-minute window and the 24-hour ones of user and app."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

_MOST_DIGITS = 11


@dataclass(frozen=True, slots=True)
class ReportedWindow:
    """One window as X reported it: how many calls it allows, how many are left, and when it starts anew."""

    limit: int
    remaining: int
    resets_at: datetime


@dataclass(frozen=True, slots=True)
class RateHeaders:
    """The windows that one answer of X reported; None where it said nothing."""

    quarter_hour: ReportedWindow | None = None
    user_day: ReportedWindow | None = None
    app_day: ReportedWindow | None = None

    def exhausted_until(self) -> datetime | None:
        """Return when the last of the windows that have nothing left starts anew."""
        windows = (self.quarter_hour, self.user_day, self.app_day)
        return max((w.resets_at for w in windows if w is not None and w.remaining == 0), default=None)


def rate_headers(headers: Mapping[str, str]) -> RateHeaders:
    """Read the limit headers of an answer, named in lower case; a malformed window counts as not reported."""
    return RateHeaders(
        quarter_hour=_window(headers, "x-rate-limit"),
        user_day=_window(headers, "x-user-limit-24hour"),
        app_day=_window(headers, "x-app-limit-24hour"),
    )


def _window(headers: Mapping[str, str], prefix: str) -> ReportedWindow | None:
    limit = _number(headers.get(f"{prefix}-limit"))
    remaining = _number(headers.get(f"{prefix}-remaining"))
    reset = _number(headers.get(f"{prefix}-reset"))
    if limit is None or remaining is None or reset is None:
        return None
    return ReportedWindow(limit, remaining, datetime.fromtimestamp(reset, UTC))


def _number(text: str | None) -> int | None:
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS:
        return None
    return int(text)
