"""Errors that people or machines may see, each with its code and HTTP status.

    MktxError
    ├── InvalidRequest          400 VALIDATION_ERROR        the request can't be read
    │   └── InvalidContent      422 VALIDATION_ERROR        it can be read, but its content is wrong
    ├── Unauthenticated         401 UNAUTHORIZED
    ├── NotAllowed              403 FORBIDDEN
    ├── NotFound                404 RESOURCE_NOT_FOUND
    ├── Conflict                409 DUPLICATE_RESOURCE
    ├── PayloadTooLarge         413 PAYLOAD_TOO_LARGE
    ├── UnsupportedMedia        415 UNSUPPORTED_MEDIA_TYPE
    ├── LimitExceeded           429 RATE_LIMIT_EXCEEDED
    ├── XRefused                502 TWITTER_API_ERROR       X refused or broke
    ├── ModelUnavailable        502 AI_SERVICE_ERROR        the model server refused or broke
    └── Unavailable             503 SERVICE_UNAVAILABLE     database or actors not to be reached
        └── Overloaded          503                         a bounded queue is full

Source: part 2 of the contract (answers) and "Error Handling" of the API document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a request: the field's path and why."""

    field: str
    reason: str


class MktxError(Exception):
    """Root of every error with a code; `details` may be shown to the caller as it is."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    status: ClassVar[int] = 500

    def __init__(
        self,
        message: str,
        *,
        problems: tuple[Problem, ...] = (),
        retry_after_s: int | None = None,
        details: dict[str, object] | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.problems = problems
        self.retry_after_s = retry_after_s
        self.details = details
        self.http_status = status or self.status

    def __reduce__(self) -> tuple[object, ...]:
        """Keep every field when the error travels between processes."""
        state = {k: v for k, v in self.__dict__.items() if k != "message"}
        return (type(self), (self.message,), state)


class InvalidRequest(MktxError):
    """The request can't be read: no JSON, unknown query parameter, a case the API lists as 400."""

    code = "VALIDATION_ERROR"
    status = 400


class InvalidContent(InvalidRequest):
    """The request can be read but fails the schema or refers to something that does not exist."""

    status = 422


class Unauthenticated(MktxError):
    """No token, or one that does not hold."""

    code = "UNAUTHORIZED"
    status = 401


class NotAllowed(MktxError):
    """The role does not allow it."""

    code = "FORBIDDEN"
    status = 403


class NotFound(MktxError):
    """Unknown path or id, and any id of another merchant."""

    code = "RESOURCE_NOT_FOUND"
    status = 404


class Conflict(MktxError):
    """It exists already, is in use, or somebody else was faster."""

    code = "DUPLICATE_RESOURCE"
    status = 409


class PayloadTooLarge(MktxError):
    """The body is over the limit."""

    code = "PAYLOAD_TOO_LARGE"
    status = 413


class UnsupportedMedia(MktxError):
    """A compressed or non-JSON body where JSON is due."""

    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415


class LimitExceeded(MktxError):
    """The merchant's API limit or an account's sending limit is used up."""

    code = "RATE_LIMIT_EXCEEDED"
    status = 429


class XRefused(MktxError):
    """X refused or broke; `details` holds X's own code and text."""

    code = "TWITTER_API_ERROR"
    status = 502


class ModelUnavailable(MktxError):
    """The model server refused or broke, or answered what could not be used; `details` says why in one word."""

    code = "AI_SERVICE_ERROR"
    status = 502


class Unavailable(MktxError):
    """The database or the actors are not to be reached; try again later."""

    code = "SERVICE_UNAVAILABLE"
    status = 503


class Overloaded(Unavailable):
    """A bounded queue is full; the caller should slow down."""
