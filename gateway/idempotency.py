"""`Idempotency-Key`: the same key and body answers the first answer again (contract, part 3)."""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256

import orjson
from aiohttp import web

from actors.clients.x_transport import XApiError
from domain.errors import Conflict, InvalidContent, InvalidRequest, LimitExceeded, MktxError, Problem, XRefused
from domain.x_errors import FailureKind
from gateway.answers import dumps, failure, respond
from gateway.payloads import payload_of
from gateway.request_body import JSON_BODY
from gateway.routing import AnswerT, BodyT, Call, QueryT, Route
from storage.idempotency import Answered, Refused, Reserved

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
_FORM = re.compile(r"[\x21-\x7e]{1,255}")
_SERVER_ERROR = 500
#: Failures of X that were about nothing but the moment.
_PASSING = frozenset({FailureKind.TEMPORARY, FailureKind.AMBIGUOUS, FailureKind.RATE_LIMIT})


async def once(
    request: web.Request, route: Route[QueryT, BodyT, AnswerT], call: Call[QueryT, BodyT]
) -> web.StreamResponse:
    """Carry a request out, once for its key where it has one.

    Raises:
        InvalidRequest: when the key is malformed.
        InvalidContent: when the key was used for another request.
        Conflict: while the first request under the key is still being carried out.
    """
    key = request.headers.get(HEADER)
    if key is None:
        reply = await route.handler(call)
        return respond(request, payload_of(reply), status=reply.status)
    if not _FORM.fullmatch(key):
        raise InvalidRequest(
            f"{HEADER} is malformed", problems=(Problem(HEADER, "must be 1 to 255 visible characters"),)
        )
    keys, merchant_id = call.deps.repositories.idempotency, call.merchant_id
    known = await keys.reserve(merchant_id, key, _hash(request), call.resource_id, call.deps.clock.now())
    match known:
        case Answered(status, body):
            return respond(request, orjson.loads(body), status=status, headers={REPLAYED: "true"})
        case Refused.OTHER_REQUEST:
            raise InvalidContent(
                f"{HEADER} was used for another request", problems=(Problem(HEADER, "was used for another request"),)
            )
        case Refused.IN_PROGRESS:
            raise Conflict("The first request under this key is still being carried out", retry_after_s=1)
        case Reserved(resource_id):
            return await _carry_out(request, route, replace(call, resource_id=resource_id), key)


async def _carry_out(
    request: web.Request, route: Route[QueryT, BodyT, AnswerT], call: Call[QueryT, BodyT], key: str
) -> web.StreamResponse:
    keys, merchant_id = call.deps.repositories.idempotency, call.merchant_id
    try:
        reply = await route.handler(call)
    except MktxError as error:
        if _is_final(error):
            await keys.keep(merchant_id, key, error.http_status, dumps(failure(error)))
        else:
            await keys.release(merchant_id, key)
        raise
    except BaseException:
        await keys.release(merchant_id, key)
        raise
    payload = payload_of(reply)
    about = [*call.path.values()]
    await keys.keep(merchant_id, key, reply.status, dumps(payload), secret=route.secret, about=about)
    return respond(request, payload, status=reply.status)


def _is_final(error: MktxError) -> bool:
    """Whether trying again could not end otherwise: nothing that passes by itself, and nothing that is not known."""
    if isinstance(error, XApiError):
        return error.failure.kind not in _PASSING
    return isinstance(error, XRefused) or (error.http_status < _SERVER_ERROR and not isinstance(error, LimitExceeded))


def _hash(request: web.Request) -> str:
    body = request.get(JSON_BODY)
    canonical = b"" if body is None else orjson.dumps(body.value, option=orjson.OPT_SORT_KEYS)
    return sha256(f"{request.method} {request.rel_url.raw_path_qs}\n".encode() + canonical).hexdigest()
