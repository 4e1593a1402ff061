"""A small X over real HTTP: just what connecting and disconnecting an account calls, and uploads of small pictures.

Under /web it stands in for the example sites of the API description.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from aiohttp import web

from tests.actors.clients.media import PNG


@dataclass
class XState:
    """Who is on X, by token, what the gateway has done there, and what X does not want to do."""

    users: dict[str, dict[str, str]] = field(default_factory=dict)
    subscribed: list[str] = field(default_factory=list)
    unsubscribed: list[str] = field(default_factory=list)
    revoked: list[str] = field(default_factory=list)
    broken: bool = False

    def register(self, token: str, user_id: str, username: str) -> None:
        self.users[token] = {
            "id": user_id,
            "username": username,
            "name": f"Name of {username}",
            "profile_image_url": "https://pbs.example/a.png",
        }


async def picture(_: web.Request) -> web.Response:
    return web.Response(body=PNG, content_type="image/png")


def x_application(state: XState) -> web.Application:
    app = web.Application()

    def user_of(request: web.Request) -> dict[str, str]:
        if state.broken:
            raise web.HTTPServiceUnavailable
        found = re.search(r'oauth_token="([^"]+)"', request.headers.get("Authorization", ""))
        if found is None or found[1] not in state.users or found[1] in state.revoked:
            raise web.HTTPUnauthorized(
                text='{"errors":[{"code":89,"message":"Invalid or expired token."}]}', content_type="application/json"
            )
        return state.users[found[1]] | {"token": found[1]}

    async def me(request: web.Request) -> web.Response:
        user = user_of(request)
        return web.json_response({"data": {k: v for k, v in user.items() if k != "token"}})

    async def subscribe(request: web.Request) -> web.Response:
        state.subscribed.append(user_of(request)["id"])
        return web.json_response({"data": {"subscribed": True}})

    async def unsubscribe(request: web.Request) -> web.Response:
        if state.broken:
            raise web.HTTPServiceUnavailable
        state.unsubscribed.append(request.match_info["user"])
        return web.json_response({"data": {"subscribed": False}})

    async def revoke(request: web.Request) -> web.Response:
        state.revoked.append(user_of(request)["token"])
        return web.json_response({"access_token": "-"})

    async def upload(request: web.Request) -> web.Response:
        user_of(request)
        return web.json_response({"data": {"id": "77", "media_key": "3_77"}})

    app.router.add_post("/2/media/upload", upload)
    app.router.add_get("/web/{name:.*}", picture)
    app.router.add_get("/2/users/me", me)
    app.router.add_post("/2/account_activity/webhooks/{id}/subscriptions/all", subscribe)
    app.router.add_delete("/2/account_activity/webhooks/{id}/subscriptions/{user}/all", unsubscribe)
    app.router.add_post("/1.1/oauth/invalidate_token.json", revoke)
    return app
