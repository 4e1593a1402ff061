"""The errors of the simulated model server, in OpenAI's words and shape."""

from __future__ import annotations

from http import HTTPStatus

from sandbox.body import JsonObject

#: How long a client that was told to come back later is asked to wait, in seconds.
RETRY_AFTER_S = 1


class ModelRefusal(Exception):
    """A request is answered with an error: its status, its body and the headers beside it."""

    def __init__(self, status: int, body: JsonObject, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers or {}


def error_body(message: str, kind: str, *, param: str | None = None, code: str | None = None) -> JsonObject:
    """Return OpenAI's error object: `{error: {message, type, param, code}}`."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> ModelRefusal:
    """Return the 400 for a request that can't be read."""
    return ModelRefusal(HTTPStatus.BAD_REQUEST, error_body(message, "invalid_request_error", param=param, code=code))


def no_key() -> ModelRefusal:
    """Return the 401 for a request without a key."""
    message = "You didn't provide an API key. Send it as a header: Authorization: Bearer YOUR_KEY."
    return ModelRefusal(HTTPStatus.UNAUTHORIZED, error_body(message, "invalid_request_error"))


def wrong_key() -> ModelRefusal:
    """Return the 401 for a key that is not the server's; the key is not repeated."""
    body = error_body("Incorrect API key provided.", "invalid_request_error", code="invalid_api_key")
    return ModelRefusal(HTTPStatus.UNAUTHORIZED, body)


def no_model(model: str) -> ModelRefusal:
    """Return the 404 for a model that there is not."""
    message = f"The model `{model}` does not exist or you do not have access to it."
    return ModelRefusal(
        HTTPStatus.NOT_FOUND, error_body(message, "invalid_request_error", param="model", code="model_not_found")
    )


def no_structured_output() -> ModelRefusal:
    """Return the 400 of older models, GPT-4 among them, that know no schemas."""
    return invalid(
        "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model.",
        param="response_format",
    )


def ordered(status: int, retry_after_s: float) -> ModelRefusal:
    """Return the error that OpenAI answers with this status when nothing is wrong with the request."""
    retry = {"retry-after": f"{retry_after_s:g}"}
    match status:
        case HTTPStatus.UNAUTHORIZED:
            return wrong_key()
        case HTTPStatus.FORBIDDEN:
            message = "Country, region, or territory not supported"
            return ModelRefusal(
                status, error_body(message, "request_forbidden", code="unsupported_country_region_territory")
            )
        case HTTPStatus.TOO_MANY_REQUESTS:
            body = error_body("Rate limit reached. Please try again later.", "requests", code="rate_limit_exceeded")
            return ModelRefusal(status, body, retry)
        case HTTPStatus.SERVICE_UNAVAILABLE:
            message = "The engine is currently overloaded, please try again later"
            return ModelRefusal(status, error_body(message, "server_error"), retry)
        case _ if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            message = "The server had an error while processing your request. Sorry about that!"
            return ModelRefusal(status, error_body(message, "server_error"))
        case _:
            return ModelRefusal(status, error_body("The request was refused.", "invalid_request_error"))
