"""X's refusals, with the bodies that X sends.

v1.1 answers `{"errors": [{"code", "message"}]}`, v2 a problem object `{"title", "detail", "type", "status"}`.
Source: X's "response codes and errors" page, the rate-limit page, and observed v2 answers.
"""

from __future__ import annotations

from sandbox.body import JsonObject

_PROBLEM = "https://api.twitter.com/2/problems/"
_PROTECT = "To protect our users from spam and other malicious activity"

#: code -> (HTTP status, message) of v1.1 errors.
V1_ERRORS: dict[int, tuple[int, str]] = {
    32: (401, "Could not authenticate you."),
    34: (404, "Sorry, that page does not exist."),
    50: (404, "User not found."),
    63: (403, "User has been suspended."),
    64: (403, "Your account is suspended and is not permitted to access this feature."),
    88: (429, "Rate limit exceeded"),
    89: (401, "Invalid or expired token."),
    93: (403, "This application is not allowed to access or delete your direct messages."),
    130: (503, "Over capacity"),
    131: (500, "Internal error"),
    135: (401, "Timestamp out of bounds."),
    150: (403, "You cannot send messages to users who are not following you."),
    151: (403, "There was an error sending your message."),
    214: (400, "Bad request."),
    226: (
        403,
        f"This request looks like it might be automated. {_PROTECT}, we can't complete this action right now.",
    ),
    324: (400, "The validation of media ids failed."),
    325: (400, "A media id was not found."),
    326: (
        403,
        f"{_PROTECT}, this account is temporarily locked. Please log in to https://twitter.com to unlock your account.",
    ),
    349: (403, "You cannot send messages to this user."),
    354: (403, "The text of your direct message is over the max character limit."),
}


def problem(status: int, title: str, detail: str, kind: str = "about:blank", **more: object) -> JsonObject:
    """Build a v2 problem; `kind` is `about:blank` or the last part of one of X's problem addresses."""
    kind = kind if kind == "about:blank" else _PROBLEM + kind
    return {"title": title, "detail": detail, "type": kind, "status": status, **more}


#: name -> (HTTP status, body) of v2 refusals that a fault can ask for by name.
V2_ERRORS: dict[str, tuple[int, JsonObject]] = {
    "Unauthorized": (401, problem(401, "Unauthorized", "Unauthorized")),
    "CreditsDepleted": (
        402,
        problem(
            402,
            "CreditsDepleted",
            "Your enrolled account does not have any credits to fulfill this request.",
            "credits",
            account_id=55,
        ),
    ),
    "NoPermissionToMessage": (
        403,
        problem(403, "Forbidden", "You do not have permission to DM one or more participants."),
    ),
    "NotPermitted": (403, problem(403, "Forbidden", "This operation is not permitted.")),
    "TooManyRequests": (429, problem(429, "Too Many Requests", "Too Many Requests")),
    "UsageCapExceeded": (
        429,
        problem(
            429,
            "UsageCapExceeded",
            "Usage cap exceeded: Monthly product cap",
            "usage-capped",
            account_id=55,
            product_name="standard-basic",
            period="Monthly",
            scope="Product",
        ),
    ),
    "InternalServerError": (500, problem(500, "Internal Server Error", "Internal Server Error")),
    "ServiceUnavailable": (503, problem(503, "Service Unavailable", "Service Unavailable")),
}


class Refusal(Exception):
    """A request is answered with an error of X's."""

    def __init__(self, status: int, body: JsonObject, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = headers or {}


def v1_body(code: int) -> JsonObject:
    """Return the body of a v1.1 error."""
    return {"errors": [{"code": code, "message": V1_ERRORS[code][1]}]}


def v1_refusal(code: int, message: str | None = None) -> Refusal:
    """Build a v1.1 error from its code."""
    status, text = V1_ERRORS[code]
    return Refusal(status, {"errors": [{"code": code, "message": message or text}]})


def v2_refusal(name: str) -> Refusal:
    """Build one of the named v2 refusals."""
    status, body = V2_ERRORS[name]
    return Refusal(status, dict(body))


def invalid_request(message: str, parameter: str = "") -> Refusal:
    """Build v2's answer to a request whose content is wrong (400)."""
    error: JsonObject = {"message": message}
    if parameter:
        error["parameters"] = {parameter: []}
    body = problem(400, "Invalid Request", "One or more parameters to your request was invalid.", "invalid-request")
    return Refusal(400, {**body, "errors": [error]})


def webhook_refusal(reason: str, detail: str, status: int = 400) -> Refusal:
    """Build a refusal of the webhook endpoints; `reason` is one of X's names, as CrcValidationFailed."""
    body = problem(status, "Invalid Request", f"{reason}: {detail}", "invalid-request")
    return Refusal(status, {**body, "errors": [{"message": f"{reason}: {detail}"}]})


def wrong_authentication(used: str, *supported: str) -> Refusal:
    """Build v2's answer to a kind of credentials that the endpoint does not take (403)."""
    detail = f"Authenticating with {used} is forbidden for this endpoint.  Supported authentication types are "
    detail += f"[{', '.join(supported)}]."
    return Refusal(403, problem(403, "Unsupported Authentication", detail, "unsupported-authentication"))


def missing_resource(kind: str, identifier: str) -> JsonObject:
    """Return the item of `errors` in v2's 200 answer for something that does not exist."""
    return {
        "value": identifier,
        "detail": f"Could not find {kind} with id: [{identifier}].",
        "title": "Not Found Error",
        "resource_type": kind,
        "parameter": "id",
        "resource_id": identifier,
        "type": _PROBLEM + "resource-not-found",
    }
