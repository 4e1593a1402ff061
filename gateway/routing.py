"""What a route is: one object from which parsing, answers, roles and the API description are read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from aiohttp import hdrs, web
from pydantic import BaseModel

from domain.errors import MktxError, Problem, Unauthenticated
from gateway.dependencies import Dependencies
from gateway.models.base import InputModel, NoBody
from gateway.models.paging import Paging
from gateway.paths import API
from gateway.principal import READERS, Principal, Role

#: Areas of API keys that are no first part of a path.
_AREAS = {"messages": "conversations"}

QueryT = TypeVar("QueryT", bound=InputModel)
BodyT = TypeVar("BodyT", bound=InputModel)
OtherT = TypeVar("OtherT", bound=InputModel)
AnswerT = TypeVar("AnswerT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Call(Generic[QueryT, BodyT]):
    """One request, read and checked.

    `resource_id` is the id for what the request creates, empty where it can't create anything: the same for a request
    that is repeated under its idempotency key. `accept` is the request's header of that name.
    """

    deps: Dependencies
    caller: Principal | None
    path: Mapping[str, str]
    query: QueryT
    body: BodyT
    resource_id: str
    address: str
    accept: str

    def with_body(self, body: OtherT) -> Call[QueryT, OtherT]:
        """Return the same request with this body."""
        return Call(self.deps, self.caller, self.path, self.query, body, self.resource_id, self.address, self.accept)

    @property
    def principal(self) -> Principal:
        """Who is calling; on routes that aren't public there always is somebody."""
        if self.caller is None:
            raise Unauthenticated("Authentication is required")
        return self.caller

    @property
    def merchant_id(self) -> str:
        """The caller's merchant: what every repository takes first."""
        return self.principal.merchant_id


@dataclass(frozen=True, slots=True)
class Reply(Generic[AnswerT]):
    """What a handler answers: one object, a list (`total` where it is a page of one), or nothing.

    With `stream` that is what answers the request, in its own time.
    """

    data: AnswerT | Sequence[AnswerT] | None
    page: Paging | None = None
    total: int = 0
    status: int = 200
    stream: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None


@dataclass(frozen=True, slots=True)
class Route(Generic[QueryT, BodyT, AnswerT]):
    """One operation of the API.

    `errors` are those beyond what every route may answer (400, 401, 403, 413, 415, 422, 503). `idempotent` routes take
    an `Idempotency-Key`: every POST that creates or sends. A `secret` one answers what is never shown again. One that
    `streams` answers server-sent events for as long as the client listens. One with `csv` answers as CSV where that
    is asked for. One that `changes` nothing though it is no GET is that for the sake of its body, and is not audited.
    `further_problems` says what else is wrong with a body that does not fit the schema, of a route whose handler checks
    more than that: all of it is told at once.
    """

    method: str
    path: str
    handler: Callable[[Call[QueryT, BodyT]], Awaitable[Reply[AnswerT]]]
    query: type[QueryT]
    body: type[BodyT]
    answer: type[AnswerT]
    summary: str
    roles: frozenset[Role] = READERS
    errors: tuple[type[MktxError], ...] = ()
    public: bool = False
    idempotent: bool = False
    body_optional: bool = False
    secret: bool = False
    streams: bool = False
    csv: bool = False
    changes: bool = True
    further_problems: Callable[[Call[QueryT, NoBody], object], Awaitable[Sequence[Problem]]] | None = None

    @property
    def scope(self) -> str | None:
        """What an API key that is kept to some scopes needs for it: an area of the API, and `read` or `write`.

        Nothing for what belongs to a session: no such key reaches it.
        """
        if not self.path.startswith(API):
            return None
        area = self.path.removeprefix(API).strip("/").split("/")[0]
        reads = self.method == hdrs.METH_GET or not self.changes
        return f"{_AREAS.get(area, area)}:{'read' if reads else 'write'}"


Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: A route whatever its models are; a tuple of routes has no other type.
AnyRoute: TypeAlias = Route[Any, Any, Any]


#: The route that each handler of the server was made from.
ROUTES: web.AppKey[Mapping[Handler, AnyRoute]] = web.AppKey("routes")


def route_of(request: web.Request) -> AnyRoute | None:
    """Return the API route that a request goes to; nothing for health, metrics, webhooks and unknown paths."""
    return request.app[ROUTES].get(request.match_info.handler)


def nothing() -> Reply[BaseModel]:
    """Answer `data: null`."""
    return Reply(None)
