"""What an answer of X that is no success means for a send (x-api, 3.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus

import orjson

from domain.x_rate_headers import RateHeaders, rate_headers

_LONGEST_TEXT = 500
_LONGEST_WAIT = timedelta(hours=25)
_LARGEST_CODE = 10**6


class FailureKind(StrEnum):
    """What a failure is about, and so who has to do something."""

    RECIPIENT = "recipient"  # this person can't be written to
    MESSAGE = "message"  # this message can't be sent
    ACCOUNT = "account"  # the account must stop; a person has to act on X
    CONFIGURATION = "configuration"  # the app's keys, permissions or access
    BILLING = "billing"  # X wants money: all traffic stops
    RATE_LIMIT = "rate_limit"  # definitely not done; again after the reset
    TEMPORARY = "temporary"  # definitely not done; again soon
    AMBIGUOUS = "ambiguous"  # may have been done; must be settled before anything else


@dataclass(frozen=True, slots=True)
class XFailure:
    """One failure: its kind, a stable reason, X's own code and text, and when to come back where X told it."""

    kind: FailureKind
    reason: str
    x_code: int | None = None
    x_text: str = ""
    retry_after_s: int | None = None
    reset_at: datetime | None = None


#: 151 ("error sending") is not here: only its text says why.
_BY_CODE: dict[int, tuple[FailureKind, str]] = {
    32: (FailureKind.CONFIGURATION, "authentication_failed"),
    50: (FailureKind.RECIPIENT, "recipient_not_found"),
    63: (FailureKind.RECIPIENT, "recipient_suspended"),
    64: (FailureKind.ACCOUNT, "account_suspended"),
    87: (FailureKind.CONFIGURATION, "app_not_permitted"),
    88: (FailureKind.RATE_LIMIT, "rate_limited"),
    89: (FailureKind.ACCOUNT, "tokens_refused"),
    93: (FailureKind.CONFIGURATION, "app_not_permitted"),
    99: (FailureKind.CONFIGURATION, "app_not_permitted"),
    130: (FailureKind.AMBIGUOUS, "x_unavailable"),
    131: (FailureKind.AMBIGUOUS, "x_unavailable"),
    135: (FailureKind.CONFIGURATION, "clock_skewed"),
    150: (FailureKind.RECIPIENT, "recipient_refuses_messages"),
    214: (FailureKind.CONFIGURATION, "request_refused"),
    220: (FailureKind.CONFIGURATION, "app_not_permitted"),
    226: (FailureKind.ACCOUNT, "looks_automated"),
    261: (FailureKind.CONFIGURATION, "app_not_permitted"),
    324: (FailureKind.MESSAGE, "media_refused"),
    325: (FailureKind.MESSAGE, "media_refused"),
    326: (FailureKind.ACCOUNT, "account_locked"),
    349: (FailureKind.RECIPIENT, "recipient_refuses_messages"),
    354: (FailureKind.MESSAGE, "message_too_long"),
    355: (FailureKind.CONFIGURATION, "already_subscribed"),
    476: (FailureKind.ACCOUNT, "account_not_verified"),
}

#: Parts of X's titles, types and texts, in lower case; the first that is found decides. Codes come before texts.
_BY_TEXT: tuple[tuple[str, FailureKind, str], ...] = (
    ("creditsdepleted", FailureKind.BILLING, "credits_depleted"),
    ("permission to dm one or more participants", FailureKind.RECIPIENT, "recipient_refuses_messages"),
    ("not permitted to attach this media", FailureKind.MESSAGE, "media_refused"),
    ("this operation is not permitted", FailureKind.ACCOUNT, "operation_not_permitted"),
    ("duplicatesubscriptionfailed", FailureKind.CONFIGURATION, "already_subscribed"),
    ("subscriptionnotfound", FailureKind.CONFIGURATION, "not_subscribed"),
    ("app permissions", FailureKind.CONFIGURATION, "app_not_permitted"),
    ("client-forbidden", FailureKind.CONFIGURATION, "app_not_permitted"),
    ("unsupported authentication", FailureKind.CONFIGURATION, "app_not_permitted"),
    ("account is suspended", FailureKind.ACCOUNT, "account_suspended"),
    ("temporarily locked", FailureKind.ACCOUNT, "account_locked"),
    ("already said that", FailureKind.MESSAGE, "duplicate_message"),
)

_BY_STATUS: dict[int, tuple[FailureKind, str]] = {
    HTTPStatus.UNAUTHORIZED: (FailureKind.ACCOUNT, "tokens_refused"),
    HTTPStatus.PAYMENT_REQUIRED: (FailureKind.BILLING, "payment_required"),
    HTTPStatus.NOT_FOUND: (FailureKind.RECIPIENT, "not_found"),
    HTTPStatus.REQUEST_TIMEOUT: (FailureKind.AMBIGUOUS, "x_unavailable"),
    HTTPStatus.TOO_MANY_REQUESTS: (FailureKind.RATE_LIMIT, "rate_limited"),
}


@dataclass(frozen=True, slots=True)
class _Told:
    """What a body of either of X's shapes says: the first code, and all its texts in lower case for searching."""

    code: int | None
    text: str
    searchable: str


def classify(status: int, body: bytes, headers: Mapping[str, str], now: datetime, *, send: bool) -> XFailure:
    """Tell what X's answer means; a 2xx comes here when it holds errors in place of what was asked for.

    `send` says whether the call could have made a message: only then is a server's error ambiguous.
    """
    told = _told(body)
    limits = rate_headers(headers)
    kind, reason = _kind_of(status, told, limits)
    if kind is FailureKind.AMBIGUOUS and not send:
        kind = FailureKind.TEMPORARY
    return XFailure(
        kind,
        reason,
        told.code,
        told.text,
        retry_after_s=_retry_after(headers),
        reset_at=_reset(limits, now) if kind is FailureKind.RATE_LIMIT else None,
    )


def broken_connection(*, written: bool, send: bool, reason: str) -> XFailure:
    """Tell what a call without an answer means; `written` says whether any of it may have reached X."""
    return XFailure(FailureKind.AMBIGUOUS if written and send else FailureKind.TEMPORARY, reason)


def _kind_of(status: int, told: _Told, limits: RateHeaders) -> tuple[FailureKind, str]:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return FailureKind.AMBIGUOUS, "x_unavailable"
    if status == HTTPStatus.TOO_MANY_REQUESTS and _is_usage_cap(told, limits):
        return FailureKind.BILLING, "usage_cap_exceeded"
    return _named_kind(told) or _BY_STATUS.get(status) or _kind_of_class(status)


def _named_kind(told: _Told) -> tuple[FailureKind, str] | None:
    if told.code in _BY_CODE:
        return _BY_CODE[told.code]
    return next(((kind, reason) for part, kind, reason in _BY_TEXT if part in told.searchable), None)


def _kind_of_class(status: int) -> tuple[FailureKind, str]:
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return FailureKind.AMBIGUOUS, "answer_unreadable"
    if status < HTTPStatus.BAD_REQUEST:
        return FailureKind.CONFIGURATION, "redirected"
    return FailureKind.MESSAGE, "refused"


def _is_usage_cap(told: _Told, limits: RateHeaders) -> bool:
    """Tell a spent budget from a full window: X says `UsageCapExceeded`, and its window still has calls left."""
    spent = "usagecapexceeded" in told.searchable or "usage-capped" in told.searchable
    return spent and (limits.quarter_hour is None or limits.quarter_hour.remaining > 0)


def _told(body: bytes) -> _Told:
    """Read a v1.1 body (`errors`), a v2 problem (`title`, `detail`, `type`), a bare list of errors, or plain text."""
    try:
        parsed: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body[: 4 * _LONGEST_TEXT].decode(errors="replace").strip()
        # An HTML page of some proxy tells a reader nothing.
        return _Told(None, "" if text.startswith("<") else text[:_LONGEST_TEXT], text.lower())
    top = parsed if isinstance(parsed, dict) else {}
    errors = parsed if isinstance(parsed, list) else top.get("errors", top.get("error"))
    problems: list[object] = [*errors] if isinstance(errors, list) else [errors]
    code: int | None = None
    texts: list[str] = [part for name in ("detail", "title", "type") if isinstance(part := top.get(name), str)]
    for problem in problems:
        if isinstance(problem, str):
            texts.append(problem)
        if isinstance(problem, dict):
            texts.extend(
                part for name in ("message", "detail", "title", "type") if isinstance(part := problem.get(name), str)
            )
            code = _code(problem.get("code")) if code is None else code
    return _Told(code, texts[0][:_LONGEST_TEXT] if texts else "", " ".join(texts)[: 8 * _LONGEST_TEXT].lower())


def _code(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_CODE:
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < len(str(_LARGEST_CODE)):
        return int(value)
    return None


def _retry_after(headers: Mapping[str, str]) -> int | None:
    text = headers.get("retry-after", "")
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(_LARGEST_CODE)):
        return None
    return min(int(text), int(_LONGEST_WAIT.total_seconds()))


def _reset(limits: RateHeaders, now: datetime) -> datetime | None:
    reset = limits.exhausted_until() or (limits.quarter_hour.resets_at if limits.quarter_hour else None)
    return min(max(reset, now), now + _LONGEST_WAIT) if reset else None
