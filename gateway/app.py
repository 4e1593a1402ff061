from __future__ import annotations

from aiohttp import web

from gateway.api import (
    accounts,
    ai,
    ai_knowledge,
    ai_tools,
    analytics,
    api_keys,
    audit,
    auth,
    campaign_reports,
    campaigns,
    contact_erasures,
    contacts,
    conversations,
    events,
    flow_executions,
    flows,
    message_search,
    messages,
    notes,
    segments,
    templates,
    users,
    webhook_endpoints,
)
from gateway.audit_trail import audit_trail
from gateway.call_admission import CALL_LIMITER, add_limit
from gateway.call_limiter import CallLimiter
from gateway.dependencies import DEPENDENCIES, Dependencies
from gateway.dispatch import add_routes
from gateway.events.streams import EventStreams
from gateway.health import live, ready
from gateway.links import LINK_ROUTE, follow_link
from gateway.metrics import metrics as metrics_page
from gateway.middlewares.errors import errors
from gateway.middlewares.metrics import metrics
from gateway.middlewares.request_id import add_request_id, request_id
from gateway.middlewares.tracing import tracing
from gateway.published import add_descriptions
from gateway.routing import ROUTES, AnyRoute

#: Every operation of the API.
API_ROUTES: tuple[AnyRoute, ...] = (
    *auth.ROUTES,
    *users.ROUTES,
    *api_keys.ROUTES,
    *audit.ROUTES,
    *accounts.ROUTES,
    *contacts.ROUTES,
    *contact_erasures.ROUTES,
    *conversations.ROUTES,
    *messages.ROUTES,
    *message_search.ROUTES,
    *notes.ROUTES,
    *templates.ROUTES,
    *segments.ROUTES,
    *campaigns.ROUTES,
    *campaign_reports.ROUTES,
    *flows.ROUTES,
    *flow_executions.ROUTES,
    *ai.ROUTES,
    *ai_knowledge.ROUTES,
    *ai_tools.ROUTES,
    *analytics.ROUTES,
    *events.ROUTES,
    *webhook_endpoints.ROUTES,
)

#: The outermost comes first: whatever answers has a request id and is counted.
MIDDLEWARES = (request_id, metrics, audit_trail, errors)


def create_app(deps: Dependencies) -> web.Application:
    """Return the HTTP side, ready to be served."""
    # Tracing is a middleware more only where it is on.
    traces = (tracing,) if deps.settings.tracing_endpoint else ()
    app = web.Application(middlewares=(*traces, *MIDDLEWARES), client_max_size=deps.settings.max_body_bytes)
    app[DEPENDENCIES] = deps
    app[CALL_LIMITER] = CallLimiter(deps.actors)
    app[events.EVENT_STREAMS] = EventStreams(deps.database, deps.settings)
    app[ROUTES] = add_routes(app, API_ROUTES)
    app.router.add_get("/health/live", live)
    app.router.add_get("/health/ready", ready)
    app.router.add_get("/metrics", metrics_page)
    app.router.add_get(LINK_ROUTE, follow_link)
    add_descriptions(app, API_ROUTES, deps.settings)
    app.on_response_prepare.append(add_request_id)
    app.on_response_prepare.append(add_limit)
    app.on_shutdown.append(_close_event_streams)
    app.on_shutdown.append(_close_background)
    app.on_cleanup.append(_close_change_stream)
    app.on_cleanup.append(_close_audit_trail)
    app.on_cleanup.append(_close_limiter)
    return app


async def _close_event_streams(app: web.Application) -> None:
    await app[events.EVENT_STREAMS].close()


async def _close_change_stream(app: web.Application) -> None:
    await app[events.EVENT_STREAMS].ended()


async def _close_background(app: web.Application) -> None:
    await app[DEPENDENCIES].background.close()


async def _close_limiter(app: web.Application) -> None:
    await app[CALL_LIMITER].close()


async def _close_audit_trail(app: web.Application) -> None:
    await app[DEPENDENCIES].repositories.audit.close()
