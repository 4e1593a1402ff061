"""The two shapes of every JSON answer (contract, part 2)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeAlias

import orjson
from aiohttp import web

from domain.errors import MktxError

Payload: TypeAlias = dict[str, object]

#: What a request was answered, for those who come after its handler.
ANSWERED: web.RequestKey[Payload] = web.RequestKey("answered", dict)
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id", str)
JSON = "application/json"
#: In the head of every JSON answer.
HEADERS = {
    "Content-Type": f"{JSON}; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


def rfc3339(moment: datetime) -> str:
    """Return a time as the API shows it: UTC with `Z`, milliseconds only where there are any."""
    precision = "milliseconds" if moment.microsecond >= 1000 else "seconds"  # noqa: PLR2004  # microseconds in one
    if moment.utcoffset():
        moment = moment.astimezone(UTC)
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


def dumps(payload: Mapping[str, object]) -> bytes:
    """Return a payload as JSON, times as `rfc3339` has them."""
    return orjson.dumps(payload, default=_show, option=orjson.OPT_PASSTHROUGH_DATETIME)


def success(data: object) -> Payload:
    """Return the payload of an answer to a request that was carried out."""
    return {"success": True, "data": data}


def success_page(data: object, *, skip: int, take: int, total: int) -> Payload:
    """Return the payload of one page of a list."""
    pages = -(-total // take)
    return success(data) | {
        "pagination": {"page": skip // take + 1, "limit": take, "total": total, "totalPages": pages}
    }


def failure(error: MktxError) -> Payload:
    """Return the payload of an answer to a request that was refused; the request's id is added when it is sent."""
    details: Payload = dict(error.details or {})
    if error.problems:
        first = error.problems[0]
        details |= {"field": first.field, "reason": first.reason}
        details["errors"] = [{"field": problem.field, "reason": problem.reason} for problem in error.problems]
    else:
        details.setdefault("field", None)
        details.setdefault("reason", error.message)
        details.setdefault("errors", [])
    return {"success": False, "error": error.message, "code": error.code, "details": details}


def respond(
    request: web.Request, payload: Payload, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return the answer to a request; a failure names the request's id."""
    if not payload["success"]:
        payload = payload | {"requestId": request.get(REQUEST_ID)}
    request[ANSWERED] = payload
    return web.Response(body=dumps(payload), status=status, headers=HEADERS | dict(headers) if headers else HEADERS)


def respond_failure(
    request: web.Request, error: MktxError, *, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return the answer to a request that was refused."""
    extra = failure_headers(error) | dict(headers or {})
    return respond(request, failure(error), status=error.http_status, headers=extra)


def failure_headers(error: MktxError) -> dict[str, str]:
    """Return what an answer to a request that was refused has in its head beside what all have."""
    extra = {}
    if error.retry_after_s is not None:
        extra["Retry-After"] = str(max(1, error.retry_after_s))
    if error.http_status == web.HTTPUnauthorized.status_code:
        extra["WWW-Authenticate"] = "Bearer"
    return extra


def _show(value: object) -> str:
    if isinstance(value, datetime):
        return rfc3339(value)
    raise TypeError(f"{type(value).__name__} has no place in an answer")
