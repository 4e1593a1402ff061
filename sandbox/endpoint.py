"""What every endpoint of the simulated X does before and after its own work: who calls, which limit, whose errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from sandbox.body import JsonObject, answer, read_object
from sandbox.limits import LimitReached
from sandbox.oauth import AppOnly, NotAuthenticated
from sandbox.people import User
from sandbox.problems import Refusal, invalid_request, v1_refusal, v2_refusal, wrong_authentication
from sandbox.world import World

WORLD = web.AppKey("world", World)

Credentials = Literal["user", "app", "either"]


@dataclass(frozen=True, slots=True)
class Call:
    """One request to X: `user` is the shop whose token signed it, None for the app's bearer token."""

    world: World
    request: web.Request
    user: User | None

    @property
    def sender(self) -> User:
        """The shop that calls; endpoints for `user` credentials always have one."""
        if self.user is None:
            raise v2_refusal("Unauthorized")
        return self.user

    @property
    def classic(self) -> bool:
        """Whether this is v1.1, which has errors of its own."""
        return is_classic(self.request)

    def part(self, name: str) -> str:
        """Return a part of the path."""
        return self.request.match_info[name]

    async def json(self) -> JsonObject:
        """Return the body as a JSON object.

        Raises:
            Refusal: 400, it is something else.
        """
        body = await read_object(self.request)
        if body is None:
            raise v1_refusal(214) if self.classic else invalid_request("The request body must be a JSON object.")
        return body


Handler = Callable[[Call], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method and path of X, the credentials it takes and the limit group that it counts in."""

    method: str
    path: str
    credentials: Credentials
    group: str
    handler: Handler

    async def serve(self, request: web.Request) -> web.Response:
        """Authenticate, count, perform; refusals become X's bodies, and X's limit headers are always there."""
        world = request.app[WORLD]
        world.requests[f"{self.method} {self.path}"] += 1
        headers: dict[str, str] = {}
        user: User | None = None
        # v1.1 sends that answer an inbound message are free; only the send itself knows which, and counts
        free = self.group == "dm.v1.send"
        try:
            user = await self._authenticate(world, request)
            headers = world.limits.take(self.group, user.id if user else None, counted=not free)
            response = await self.handler(Call(world, request, user))
        except LimitReached as reached:
            headers = reached.headers
            refusal = v1_refusal(88) if is_classic(request) else v2_refusal("TooManyRequests")
            response = answer(refusal.body, refusal.status)
        except Refusal as refusal:
            response = answer(refusal.body, refusal.status, refusal.headers)
        if free and headers:
            headers = world.limits.take(self.group, user.id if user else None, counted=False)
        response.headers.update(headers)
        return response

    async def _authenticate(self, world: World, request: web.Request) -> User | None:
        try:
            caller = await world.authenticator.check(request)
        except NotAuthenticated as failure:
            raise (v1_refusal(failure.code) if is_classic(request) else v2_refusal("Unauthorized")) from None
        if isinstance(caller, AppOnly):
            if self.credentials == "user":
                raise wrong_authentication(
                    "OAuth 2.0 Application-Only", "OAuth 1.0a User Context", "OAuth 2.0 User Context"
                )
            return None
        if self.credentials == "app":
            raise wrong_authentication("OAuth 1.0a User Context", "OAuth 2.0 Application-Only")
        return world.people.get(caller.user_id)


def is_classic(request: web.Request) -> bool:
    """Whether a request goes to v1.1."""
    return request.path.startswith("/1.1/")
