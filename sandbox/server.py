"""The HTTP server of the sandbox: X's endpoints, those of a model server under /v1, control APIs under /sandbox."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from sandbox.body import answer
from sandbox.endpoint import WORLD, is_classic
from sandbox.fault_middleware import faults
from sandbox.model import server as model_server
from sandbox.model.model import MODEL, Model
from sandbox.problems import problem, v1_body
from sandbox.routes import activity, control, example_sites, media, messages_v1, messages_v2, people, webhooks
from sandbox.world import World

#: Largest request: one segment of media in base64, with room for its envelope.
_LARGEST_BODY = 24 * 1024 * 1024

ENDPOINTS = (
    *people.ENDPOINTS,
    *messages_v2.ENDPOINTS,
    *messages_v1.ENDPOINTS,
    *media.ENDPOINTS,
    *webhooks.ENDPOINTS,
    *activity.ENDPOINTS,
)


def create_app(world: World, model: Model) -> web.Application:
    """Build the application; the world lives from its start-up to its clean-up."""
    app = web.Application(middlewares=[faults], client_max_size=_LARGEST_BODY)
    app[WORLD] = world
    app[MODEL] = model
    app.cleanup_ctx.append(_life)
    for endpoint in ENDPOINTS:
        app.router.add_route(endpoint.method, endpoint.path, endpoint.serve)
    app.router.add_routes(control.routes())
    app.router.add_routes(example_sites.routes())
    app.router.add_routes(model_server.routes())
    app.router.add_route("*", "/{path:.*}", _unknown)
    return app


async def _life(app: web.Application) -> AsyncIterator[None]:
    async with app[WORLD].running():
        yield


async def _unknown(request: web.Request) -> web.Response:
    if is_classic(request):
        return answer(v1_body(34), 404)
    return answer(problem(404, "Not Found", "Not Found"), 404)


@asynccontextmanager
async def running(
    world: World, host: str = "127.0.0.1", port: int = 0, *, model: Model | None = None
) -> AsyncIterator[str]:
    """Serve a world and a model, and yield their base URL, `http://host:port`; port 0 picks a free one."""
    runner = web.AppRunner(create_app(world, model or Model()), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield f"http://{host}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
