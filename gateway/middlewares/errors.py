"""The one place where an error becomes an answer."""

from __future__ import annotations

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from pymongo.errors import ConnectionFailure, ExecutionTimeout, PyMongoError, WTimeoutError

from domain.errors import InvalidRequest, MktxError, NotFound, PayloadTooLarge, Unavailable
from gateway.answers import respond_failure
from gateway.metrics import UNHANDLED_ERRORS

log = structlog.get_logger()

_DATABASE_RETRY_S = 2
_CLIENT_ERROR = 400
_SERVER_ERROR = 500


class MethodNotAllowed(MktxError):
    """A known path with a method that it does not have."""

    code = "METHOD_NOT_ALLOWED"
    status = 405


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error in the API's shape; one that nobody expected is logged, counted, and kept to ourselves."""
    try:
        return await handler(request)
    except MktxError as error:
        if error.http_status >= _SERVER_ERROR:
            log.warning("request.failed", code=error.code, status=error.http_status, reason=error.message)
        return respond_failure(request, error)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        return respond_failure(request, MethodNotAllowed("The path has no such method"), headers={"Allow": allowed})
    except web.HTTPException as error:
        if error.status < _CLIENT_ERROR:
            raise
        return respond_failure(request, _from_server(error))
    except PyMongoError as error:
        return respond_failure(request, _from_database(error))
    except Exception as error:
        log.exception("request.broke", method=request.method)
        return respond_failure(request, _unexpected(error))


def _from_server(error: web.HTTPException) -> MktxError:
    match error:
        case web.HTTPNotFound():
            return NotFound("There is nothing at this path")
        case web.HTTPRequestEntityTooLarge():
            return PayloadTooLarge("The body is too large")
        case _ if error.status < _SERVER_ERROR:
            return InvalidRequest("The request can't be read", status=error.status)
        case _:
            return _unexpected(error)


def _from_database(error: PyMongoError) -> MktxError:
    """Tell a database that is not to be reached, or too slow, from one that was asked something wrong."""
    passing = isinstance(error, ConnectionFailure | ExecutionTimeout | WTimeoutError) or error.timeout
    if passing or error.has_error_label("RetryableWriteError") or error.has_error_label("TransientTransactionError"):
        log.warning("database.unavailable", error=type(error).__name__)
        return Unavailable("The database is not to be reached", retry_after_s=_DATABASE_RETRY_S)
    log.error("database.refused", exc_info=error)
    return _unexpected(error)


def _unexpected(error: BaseException) -> MktxError:
    UNHANDLED_ERRORS.labels(error=type(error).__name__).inc()
    return MktxError("Something went wrong on our side")
