"""v2 users, blocking, and v1.1's token endpoints."""

from __future__ import annotations

from aiohttp import web

from sandbox.body import JsonObject, answer
from sandbox.endpoint import Call, Endpoint
from sandbox.people import User
from sandbox.problems import invalid_request, missing_resource

_DEFAULT_FIELDS = {"id", "name", "username"}
_MOST_IDS = 100


def _fields(call: Call) -> set[str]:
    asked = call.request.query.get("user.fields", "")
    return _DEFAULT_FIELDS | {name for name in asked.split(",") if name}


def _shown(user: User, wanted: set[str]) -> JsonObject:
    return {name: value for name, value in user.v2().items() if name in wanted}


async def me(call: Call) -> web.Response:
    """GET /2/users/me."""
    return answer({"data": _shown(call.sender, _fields(call))})


async def one(call: Call) -> web.Response:
    """GET /2/users/:id; somebody unknown is 200 with `errors`, as on X."""
    user = call.world.people.get(call.part("user_id"))
    if user is None:
        return answer({"errors": [missing_resource("user", call.part("user_id"))]})
    return answer({"data": _shown(user, _fields(call))})


async def several(call: Call) -> web.Response:
    """GET /2/users?ids=…, at most 100."""
    ids = [identifier for identifier in call.request.query.get("ids", "").split(",") if identifier]
    if not 1 <= len(ids) <= _MOST_IDS:
        raise invalid_request("The number of values in the `ids` query parameter list must be 1-100", "ids")
    wanted = _fields(call)
    found = [(identifier, call.world.people.get(identifier)) for identifier in ids]
    data = [_shown(user, wanted) for _, user in found if user is not None]
    missing = [missing_resource("user", identifier) for identifier, user in found if user is None]
    body: JsonObject = {}
    if data:
        body["data"] = data
    if missing:
        body["errors"] = missing
    return answer(body)


async def block(call: Call) -> web.Response:
    """POST /2/users/:id/dm/block: the shop takes no more messages from this person."""
    call.sender.blocked.add(call.part("user_id"))
    return answer({"data": {"blocked": True}})


async def unblock(call: Call) -> web.Response:
    """POST /2/users/:id/dm/unblock."""
    call.sender.blocked.discard(call.part("user_id"))
    return answer({"data": {"blocked": False}})


async def verify(call: Call) -> web.Response:
    """GET /1.1/account/verify_credentials.json."""
    return answer(call.sender.classic())


async def invalidate(call: Call) -> web.Response:
    """POST /1.1/oauth/invalidate_token.json, signed by the token that ends; its subscriptions end with it."""
    call.world.revoke(call.sender.id)
    return answer({"access_token": f"sandbox-token-{call.sender.id}"})


ENDPOINTS = (
    Endpoint("GET", "/2/users/me", "user", "users.me", me),
    Endpoint("GET", "/2/users", "either", "users", several),
    Endpoint("GET", "/2/users/{user_id:[0-9]+}", "either", "users", one),
    Endpoint("POST", "/2/users/{user_id:[0-9]+}/dm/block", "user", "dm.block", block),
    Endpoint("POST", "/2/users/{user_id:[0-9]+}/dm/unblock", "user", "dm.block", unblock),
    Endpoint("GET", "/1.1/account/verify_credentials.json", "user", "users.me", verify),
    Endpoint("POST", "/1.1/oauth/invalidate_token.json", "user", "token", invalidate),
    Endpoint("POST", "/1.1/oauth/invalidate_token", "user", "token", invalidate),
)
