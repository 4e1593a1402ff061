"""X's rate limits: fixed windows of 15 minutes and 24 hours, per user and per app, with X's headers.

Source: X's rate-limit page (all endpoints); `x-user-limit-24hour-*` and `x-app-limit-24hour-*` as observed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from sandbox.clock import DAY_MS, QUARTER_MS, Clock, millis

#: Messages that one account may send in any 24 hours, through whatever client (X's help page).
ACCOUNT_MESSAGES_24H = 500


@dataclass(slots=True)
class Rule:
    """The windows of one group of endpoints; None means that there is no such window."""

    user_15m: int | None = None
    user_24h: int | None = None
    app_15m: int | None = None
    app_24h: int | None = None


WINDOWS = tuple(field.name for field in fields(Rule))


def published_rules() -> dict[str, Rule]:
    """Return the limits as X publishes them, by group of endpoints."""
    return {
        "dm.send": Rule(user_15m=15, user_24h=1440, app_24h=1440),
        "dm.read": Rule(user_15m=15),
        "dm.block": Rule(user_15m=10, user_24h=400, app_15m=25, app_24h=1000),
        "dm.v1.send": Rule(user_24h=1000, app_24h=15_000),
        "dm.v1.read": Rule(user_15m=15),
        "dm.v1.signal": Rule(user_15m=1000),
        "media.upload": Rule(user_15m=500, app_24h=50_000),
        "media.chunk": Rule(user_15m=1875, app_24h=180_000),
        "media.status": Rule(user_15m=1000, app_24h=100_000),
        "users.me": Rule(user_15m=75),
        "users": Rule(user_15m=900, app_15m=300),
        "webhooks": Rule(app_15m=450),
        "activity": Rule(app_15m=500),
        "replay": Rule(app_15m=100),
        "token": Rule(),
    }


@dataclass(slots=True)
class _Window:
    started_ms: int
    used: int = 0


class LimitReached(Exception):
    """A window of the endpoint is used up; `headers` say which."""

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__("rate limit reached")
        self.headers = headers


class Limits:
    """Counts requests against the rules; every number can be changed while running."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.rules = published_rules()
        self.account_24h = ACCOUNT_MESSAGES_24H
        self._windows: dict[tuple[str, str, str], _Window] = {}

    def reset(self) -> None:
        """Begin every window anew."""
        self._windows.clear()

    def raise_all(self, limit: int) -> None:
        """Set every window that exists, and the account's, to `limit`."""
        self.account_24h = limit
        for rule in self.rules.values():
            for name in WINDOWS:
                if getattr(rule, name) is not None:
                    setattr(rule, name, limit)

    def take(self, group: str, user_id: str | None, *, counted: bool = True) -> dict[str, str]:
        """Count one request and return X's headers for it.

        A request with a user's token counts against the user's windows, one with the app's bearer token against the
        app's 15-minute window; the app's 24-hour window counts both.

        Raises:
            LimitReached: a window is used up; nothing was counted.
        """
        rule = self.rules[group]
        now = millis(self._clock)
        open_windows: list[tuple[str, int, _Window]] = []
        for name in WINDOWS:
            limit: int | None = getattr(rule, name)
            by_user = name.startswith("user")
            if limit is None or (by_user and user_id is None) or (name == "app_15m" and user_id is not None):
                continue
            owner = (user_id or "") if by_user else ""
            open_windows.append((name, limit, self._window(group, name, owner, now)))
        full = counted and any(window.used >= limit for _, limit, window in open_windows)
        if counted and not full:
            for _, _, window in open_windows:
                window.used += 1
        headers = _headers(open_windows)
        if full:
            raise LimitReached(headers)
        return headers

    def _window(self, group: str, name: str, owner: str, now: int) -> _Window:
        key = (group, name, owner)
        window = self._windows.get(key)
        if window is None or now >= window.started_ms + _length(name):
            window = self._windows[key] = _Window(now)
        return window


def _length(name: str) -> int:
    return QUARTER_MS if name.endswith("15m") else DAY_MS


def _headers(open_windows: list[tuple[str, int, _Window]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, limit, window in open_windows:
        prefixes = []
        if name.endswith("24h"):
            prefixes.append(f"x-{name.split('_', maxsplit=1)[0]}-limit-24hour")
        if "x-rate-limit-limit" not in headers:
            prefixes.append("x-rate-limit")
        for prefix in prefixes:
            headers[f"{prefix}-limit"] = str(limit)
            headers[f"{prefix}-remaining"] = str(max(0, limit - window.used))
            # rounded up: a client that waits until this second finds the window closed
            headers[f"{prefix}-reset"] = str(-(-(window.started_ms + _length(name)) // 1000))
    return headers
