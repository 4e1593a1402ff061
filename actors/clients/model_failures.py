"""Why a call of the model server failed, and whether and when it is worth another try.

Source: OpenAI's guide "Error codes": 429 is a rate limit or a quota that is spent, 500 and 503 pass, others don't.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus

from domain.errors import ModelUnavailable

_LONGEST_NUMBER = 12
_QUOTA = "insufficient_quota"
#: Codes of errors that are shown; any other could be text of somebody's.
_KNOWN_CODES = frozenset(
    {
        *("context_length_exceeded", "invalid_api_key", "invalid_json_schema", "model_not_found"),
        *("rate_limit_exceeded", "unsupported_country_region_territory", "unsupported_parameter", "unsupported_value"),
        _QUOTA,
    }
)


class ModelFailureKind(StrEnum):
    """What went wrong."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    SERVER_ERROR = "server_error"
    RATE_LIMITED = "rate_limited"
    BROKEN_BODY = "broken_body"
    QUOTA = "quota_used_up"
    REFUSED = "refused"
    BUSY = "busy"
    CIRCUIT_OPEN = "circuit_open"
    NOT_CONFIGURED = "not_configured"
    UNUSABLE = "unusable_answer"


_MESSAGES = {
    ModelFailureKind.TIMEOUT: "The model server did not answer in time",
    ModelFailureKind.UNREACHABLE: "The model server can't be reached",
    ModelFailureKind.SERVER_ERROR: "The model server has an error",
    ModelFailureKind.RATE_LIMITED: "The model server wants fewer calls",
    ModelFailureKind.BROKEN_BODY: "The model server's answer is broken",
    ModelFailureKind.QUOTA: "The quota with the model server is used up",
    ModelFailureKind.REFUSED: "The model server refused the call",
    ModelFailureKind.BUSY: "Too many calls of the model server are under way",
    ModelFailureKind.CIRCUIT_OPEN: "The model server has failed repeatedly and is left alone for a while",
    ModelFailureKind.NOT_CONFIGURED: "There is no model server: set MKTX_OPENAI_BASE_URL or MKTX_OPENAI_API_KEY",
    ModelFailureKind.UNUSABLE: "The model's answer could not be used",
}
#: What may be over the next moment, and is worth another try.
_PASSING = frozenset(
    {
        ModelFailureKind.TIMEOUT,
        ModelFailureKind.UNREACHABLE,
        ModelFailureKind.SERVER_ERROR,
        ModelFailureKind.RATE_LIMITED,
        ModelFailureKind.BROKEN_BODY,
    }
)


class ModelFailed(ModelUnavailable):
    """A call of the model server failed; `details` holds the kind, and the server's status and code where it had any.

    Texts of the server are not kept: they may quote what it was asked.
    """

    def __init__(
        self,
        kind: ModelFailureKind,
        *,
        model_status: int | None = None,
        model_code: str | None = None,
        wait_s: float | None = None,
    ) -> None:
        super().__init__(
            _MESSAGES[kind],
            details={"reason": str(kind), "status": model_status, "code": model_code},
            retry_after_s=None if wait_s is None else max(1, round(wait_s)),
        )
        self.kind = kind
        self.model_status = model_status
        self.model_code = model_code
        self.wait_s = wait_s

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes as what it was made of."""
        return (_restored, (self.kind, self.model_status, self.model_code, self.wait_s))

    @property
    def is_passing(self) -> bool:
        """Whether another try may help."""
        return self.kind in _PASSING


@dataclass(eq=False)
class ModelRefusal(Exception):
    """An answer of the model server that is an error: its status, and what its body says of it."""

    status: int
    headers: Mapping[str, str]
    message: str
    param: str | None
    code: str | None


def _restored(kind: ModelFailureKind, status: int | None, code: str | None, wait_s: float | None) -> ModelFailed:
    return ModelFailed(kind, model_status=status, model_code=code, wait_s=wait_s)


def is_trouble(error: BaseException) -> bool:
    """Whether a failure is the server's own and not of what it was asked: enough of them open the circuit."""
    return isinstance(error, ModelFailed) and error.is_passing


def failure_of(refusal: ModelRefusal, now: datetime) -> ModelFailed:
    """Tell what a refusal of the model server means."""
    status, code = refusal.status, refusal.code if refusal.code in _KNOWN_CODES else None
    kind = ModelFailureKind.REFUSED
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        kind = ModelFailureKind.QUOTA if code == _QUOTA else ModelFailureKind.RATE_LIMITED
    elif status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT}:
        kind = ModelFailureKind.SERVER_ERROR
    return ModelFailed(kind, model_status=status, model_code=code, wait_s=wait_of(refusal.headers, now))


def wait_of(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that an answer asks to wait for, None where it does not (RFC 9110, 10.2.3)."""
    milliseconds, text = headers.get("retry-after-ms"), headers.get("retry-after")
    if milliseconds is not None and (found := _number(milliseconds)) is not None:
        return found / 1000
    if text is None:
        return None
    if (seconds := _number(text)) is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


def _number(text: str) -> float | None:
    whole, _, part = text.strip().partition(".")
    digits = whole + part
    is_number = whole != "" and digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST_NUMBER
    return float(text) if is_number else None
