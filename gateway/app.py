from __future__ import annotations

from aiohttp import web

from gateway.api import accounts, auth, contacts, conversations, messages
from gateway.dependencies import DEPENDENCIES, Dependencies
from gateway.dispatch import add_routes
from gateway.health import live, ready
from gateway.metrics import metrics as metrics_page
from gateway.middlewares.authentication import authentication
from gateway.middlewares.body_rules import body_rules
from gateway.middlewares.errors import errors
from gateway.middlewares.metrics import metrics
from gateway.middlewares.request_id import add_request_id, request_id
from gateway.routing import ROUTES, AnyRoute

#: Every operation of the API.
API_ROUTES: tuple[AnyRoute, ...] = (
    *auth.ROUTES,
    *accounts.ROUTES,
    *contacts.ROUTES,
    *conversations.ROUTES,
    *messages.ROUTES,
)

#: The outermost comes first: whatever answers has a request id and is counted, and nothing is read for strangers.
MIDDLEWARES = (request_id, metrics, errors, authentication, body_rules)


def create_app(deps: Dependencies) -> web.Application:
    """Return the HTTP side, ready to be served."""
    app = web.Application(middlewares=MIDDLEWARES, client_max_size=deps.settings.max_body_bytes)
    app[DEPENDENCIES] = deps
    app[ROUTES] = add_routes(app, API_ROUTES)
    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/metrics", metrics_page)
    app.on_response_prepare.append(add_request_id)
    app.on_shutdown.append(_close_background)
    return app


async def _close_background(app: web.Application) -> None:
    await app[DEPENDENCIES].background.close()
