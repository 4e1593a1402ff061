"""How many messages one account may still send, and when the next one: a pure budget, counted at the claim.

Five windows hold at once, and the strictest decides:

    messages24h   ours: messages in any 24 hours (contract, part 5), part of it kept back for people
    campaigns24h  ours: messages of campaigns in any 24 hours (likewise)
    x15min        X's calls in 15 minutes: as counted here, and as X last reported
    x24h          X's calls of this account in 24 hours: likewise
    xApp24h       X's calls of the whole app in 24 hours: only as X last reported

The share that is kept back for people is kept of X's windows too, from campaigns: or they would use up every quarter
of an hour, and an answer of a person would wait for up to 16 minutes.

Counts are kept by the minute, and a minute leaves a window only when all of it is older than the window: never one
too many, at the price of up to a minute. A report of X counts until the reset that it names; within that time each
claim lowers it and a later report can only lower it further, since calls under way are not in it yet.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Self, TypeAlias

from config.settings import Settings
from domain.send_forecast import Forecast, ReportedRoom, RollingWindow
from domain.x_rate_headers import RateHeaders, ReportedWindow

#: The least urgent messages, which have a window of their own (contract, part 5, "Campaigns").
CAMPAIGN = 3

#: X's limits until it tells its own (x-api, 3.3: POST dm_conversations).
X_QUARTER_HOUR_LIMIT = 15
X_DAY_LIMIT = 1440

_MINUTE_S = 60
_QUARTER_HOUR_S = 15 * 60
_DAY_S = 24 * 60 * 60
_CLOCK_SLACK_S = 60  # X's clock may be this far ahead of ours
_BUCKET = struct.Struct("<IHHH")
_FULL_BUCKET = 2**16 - 1
#: No later moment can be written.
_END_OF_TIME = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())
_Kind: TypeAlias = Literal["messages", "calls", "campaigns"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Our own limits: messages in any 24 hours, the share of them kept for people, and messages of campaigns."""

    messages_per_day: int = 500
    reserve: float = 0.2
    campaign_messages_per_day: int = 10_000

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the limits that are set."""
        return cls(settings.x_messages_per_day, settings.x_reserve_for_people, settings.x_campaign_messages_per_day)


@dataclass(frozen=True, slots=True)
class Claim:
    """One send that was counted, at the moment of its claim."""

    at: datetime
    priority: int = 0


@dataclass(frozen=True, slots=True)
class WindowState:
    """What is shown of one window; `resets_at` is when the next place in it comes free, None while it is unused."""

    name: str
    limit: int
    used: int
    resets_at: datetime | None


@dataclass(slots=True)
class _Bucket:
    """What was claimed in one minute: messages that may exist, calls that may have reached X, campaigns' messages."""

    messages: int = 0
    calls: int = 0
    campaigns: int = 0


@dataclass(slots=True)
class _Report:
    """A window of X: the limit it last told, and what is left of its last report until that one's reset (0: none)."""

    limit: int
    remaining: int = 0
    resets_at: int = 0

    def free_at(self, now: int, kept: int) -> int:
        return self.resets_at if now < self.resets_at and self.remaining <= kept else now

    def claimed(self, now: int) -> None:
        if now < self.resets_at:
            self.remaining -= 1

    def update(self, reported: ReportedWindow | None, now: int, length: int) -> None:
        if reported is None:
            return
        # A limit of nothing would never end; what is left still holds until the reset.
        self.limit = reported.limit or self.limit
        resets_at = min(_seconds_up(reported.resets_at), now + length + _CLOCK_SLACK_S)
        remaining = min(reported.remaining, self.limit)
        if now < self.resets_at and resets_at <= self.resets_at + _CLOCK_SLACK_S:
            # Still the same window. An earlier end would be looser, so the later one stays.
            remaining = min(remaining, self.remaining)
            resets_at = max(resets_at, self.resets_at)
        self.remaining, self.resets_at = remaining, resets_at


class SendWindows:
    """The windows of one account; made from its document, asked and told by its actor only.

    `priority` is that of the message: 0 for people, above for what is automatic. Moments are timezone-aware.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        # Something is always left to what is automatic, or it would wait for ever.
        most = self._limits.messages_per_day
        self._reserved = min(int(most * self._limits.reserve), most - 1)
        self._buckets: dict[int, _Bucket] = {}
        self._reports = {
            "quarterHour": _Report(X_QUARTER_HOUR_LIMIT),
            "userDay": _Report(X_DAY_LIMIT),
            "appDay": _Report(X_DAY_LIMIT),
        }
        self._blocked_until = 0

    @property
    def blocked_until(self) -> datetime | None:
        """When an explicit block ends; None where there never was one."""
        return _moment(self._blocked_until) if self._blocked_until else None

    def block(self, until: datetime) -> None:
        """Send nothing until then, as after a refusal that names a time; a longer block stays."""
        self._blocked_until = max(self._blocked_until, _seconds_up(until))

    def can_send(self, now: datetime, priority: int = 0) -> bool:
        """Say whether a message of this priority may be claimed now."""
        return self.next_free_at(now, priority) <= now

    def next_free_at(self, now: datetime, priority: int = 0) -> datetime:
        """Return when a message of this priority may be claimed, unless others are before it; `now` if at once."""
        at = _seconds(now)
        self._forget(at)
        free = max(
            at,
            self._blocked_until,
            *(self._free_at(at, length, limit, kind) for kind, length, limit in self._windows(priority)),
            *(report.free_at(at, self._kept(report.limit, priority)) for report in self._reports.values()),
        )
        return now if free == at else _moment(free)

    def finish_at(self, now: datetime, count: int, priority: int = CAMPAIGN) -> datetime:
        """Return when the last of `count` more messages can be claimed, if each is claimed as soon as it may be.

        Exact for the first four days, and within a hundredth after that; the windows themselves stay as they are.
        """
        at = _seconds(now)
        windows = [
            RollingWindow(length, limit, ((m, _counted_in(bucket, kind)) for m, bucket in self._buckets.items()))
            for kind, length, limit in self._windows(priority)
        ]
        reports = [
            ReportedRoom(each.remaining - self._kept(each.limit, priority), each.resets_at)
            for each in self._reports.values()
        ]
        finish = min(Forecast(windows, reports, self._blocked_until).finish_at(at, count), _END_OF_TIME)
        return now if finish == at else _moment(finish)

    def claimed(self, now: datetime, priority: int = 0) -> Claim:
        """Count one send; to be persisted before the call is made.

        Raises:
            ValueError: when no window was asked whether it may be, or it may not.
        """
        if not self.can_send(now, priority):
            raise ValueError("no message may be claimed now")
        at = _seconds(now)
        bucket = self._buckets.setdefault(at // _MINUTE_S, _Bucket())
        bucket.messages += 1
        bucket.calls += 1
        if priority >= CAMPAIGN:
            bucket.campaigns += 1
        for report in self._reports.values():
            report.claimed(at)
        return Claim(now, priority)

    def returned(self, now: datetime, claim: Claim, *, reached_x: bool = True) -> None:
        """Give a claim back whose message definitely does not exist.

        A call that `reached_x`, even to be refused, stays counted in X's own windows.
        """
        self._forget(_seconds(now))
        bucket = self._buckets.get(_seconds(claim.at) // _MINUTE_S)
        if bucket is None:
            return
        bucket.messages = max(bucket.messages - 1, 0)
        if claim.priority >= CAMPAIGN:
            bucket.campaigns = max(bucket.campaigns - 1, 0)
        if not reached_x:
            bucket.calls = max(bucket.calls - 1, 0)

    def reported(self, headers: RateHeaders, now: datetime) -> None:
        """Take in what an answer of X said of its windows."""
        at = _seconds(now)
        self._reports["quarterHour"].update(headers.quarter_hour, at, _QUARTER_HOUR_S)
        self._reports["userDay"].update(headers.user_day, at, _DAY_S)
        self._reports["appDay"].update(headers.app_day, at, _DAY_S)

    def describe(self, now: datetime) -> list[WindowState]:
        """Return every window as it stands, the app's only while X's report of it holds."""
        at = _seconds(now)
        self._forget(at)
        quarter_hour, user_day, app_day = (self._reports[name] for name in ("quarterHour", "userDay", "appDay"))
        states = [
            self._counted("messages24h", at, _DAY_S, self._limits.messages_per_day, "messages"),
            self._counted("campaigns24h", at, _DAY_S, self._limits.campaign_messages_per_day, "campaigns"),
            _stricter(self._counted("x15min", at, _QUARTER_HOUR_S, quarter_hour.limit, "calls"), quarter_hour, at),
            _stricter(self._counted("x24h", at, _DAY_S, user_day.limit, "calls"), user_day, at),
        ]
        if at < app_day.resets_at:
            states.append(_stricter(WindowState("xApp24h", app_day.limit, 0, None), app_day, at))
        return states

    def to_document(self) -> dict[str, object]:
        """Return what must survive: minutes as packed numbers (at most 1,441 of 10 bytes), X's reports, the block."""
        packed = (
            _BUCKET.pack(minute, *(min(count, _FULL_BUCKET) for count in (each.messages, each.calls, each.campaigns)))
            for minute, each in sorted(self._buckets.items())
        )
        return {
            "claims": b"".join(packed),
            "reports": {name: [r.limit, r.remaining, r.resets_at] for name, r in self._reports.items()},
            "blockedUntil": self._blocked_until,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, object], limits: Limits | None = None) -> Self:
        """Return the windows of a document; an empty one gives fresh windows.

        Raises:
            TypeError, ValueError, struct.error: when it is not what `to_document` returns.
        """
        windows = cls(limits)
        claims, blocked_until = document.get("claims", b""), document.get("blockedUntil", 0)
        reports = document.get("reports", {})
        if not (isinstance(claims, bytes) and isinstance(reports, Mapping) and isinstance(blocked_until, int)):
            raise TypeError("not a document of send windows")
        for minute, messages, calls, campaigns in _BUCKET.iter_unpack(claims):
            windows._buckets[minute] = _Bucket(messages, calls, campaigns)
        for name, (limit, remaining, resets_at) in reports.items():
            windows._reports[name] = _Report(limit, remaining, resets_at)
        windows._blocked_until = blocked_until
        return windows

    def _forget(self, at: int) -> None:
        oldest = (at - _DAY_S) // _MINUTE_S
        gone = [minute for minute in self._buckets if minute < oldest]
        for minute in gone:
            del self._buckets[minute]

    def _kept(self, limit: int, priority: int) -> int:
        """Return how many of X's calls are kept back for people; something is always left to campaigns."""
        return min(int(limit * self._limits.reserve), limit - 1) if priority >= CAMPAIGN else 0

    def _open_to(self, limit: int, priority: int) -> int:
        return limit - self._kept(limit, priority)

    def _windows(self, priority: int) -> list[tuple[_Kind, int, int]]:
        """Return (what is counted, length, limit) of each window that is counted here for a priority."""
        most = self._limits.messages_per_day - (self._reserved if priority > 0 else 0)
        windows: list[tuple[_Kind, int, int]] = [
            ("messages", _DAY_S, most),
            ("calls", _QUARTER_HOUR_S, self._open_to(self._reports["quarterHour"].limit, priority)),
            ("calls", _DAY_S, self._open_to(self._reports["userDay"].limit, priority)),
        ]
        if priority >= CAMPAIGN:
            windows.append(("campaigns", _DAY_S, self._limits.campaign_messages_per_day))
        return windows

    def _within(self, at: int, length: int, kind: _Kind) -> list[tuple[int, int]]:
        """Return (moment it leaves, count) of the minutes that count in a rolling window, oldest first."""
        oldest = (at - length) // _MINUTE_S  # its last second is still within the window
        counted = [
            (_leaves(minute, length), count)
            for minute, bucket in self._buckets.items()
            if minute >= oldest and (count := _counted_in(bucket, kind))
        ]
        counted.sort()
        return counted

    def _free_at(self, at: int, length: int, limit: int, kind: _Kind) -> int:
        if sum([_counted_in(bucket, kind) for bucket in self._buckets.values()]) < limit:
            return at  # even all that is remembered is less, whatever of it counts here
        counts = self._within(at, length, kind)
        excess = sum(count for _, count in counts) - limit
        for leaves, count in counts:
            if excess < 0:
                break
            at, excess = leaves, excess - count
        return at

    def _counted(self, name: str, at: int, length: int, limit: int, kind: _Kind) -> WindowState:
        counts = self._within(at, length, kind)
        return WindowState(name, limit, sum(c for _, c in counts), _moment(counts[0][0]) if counts else None)


def _counted_in(bucket: _Bucket, kind: _Kind) -> int:
    if kind == "messages":
        return bucket.messages
    return bucket.calls if kind == "calls" else bucket.campaigns


def _stricter(state: WindowState, report: _Report, at: int) -> WindowState:
    """Return a window as X reported it where that leaves less than what was counted."""
    reported_used = report.limit - max(report.remaining, 0)
    if at < report.resets_at and reported_used >= state.used:
        return WindowState(state.name, state.limit, reported_used, _moment(report.resets_at))
    return state


def _leaves(minute: int, length: int) -> int:
    """Return when a minute has left a rolling window: when all of it is older than the window."""
    return (minute + 1) * _MINUTE_S + length


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _seconds_up(moment: datetime) -> int:
    return -int(-moment.timestamp() // 1)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
