"""The application with everything that a gateway process registers, X's webhook too."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from domain.clock import SystemClock
from gateway.app import create_app
from gateway.commit import GroupCommit
from gateway.dependencies import Dependencies
from gateway.webhooks import Webhooks
from storage.inbox import Inbox


def whole_app(deps: Dependencies) -> web.Application:
    app = create_app(deps)
    clock, inbox = SystemClock(), Inbox(deps.database.client, deps.database)
    Webhooks(deps.settings, GroupCommit(inbox, clock, lambda _lanes, _calls: None), inbox, clock).add_to(app)
    return app


@asynccontextmanager
async def serve_whole(deps: Dependencies) -> AsyncIterator[TestClient[Any, Any]]:
    """Serve it as the program does: bodies reach it as they were sent."""
    server = TestServer(whole_app(deps))
    await server.start_server(auto_decompress=False)
    async with TestClient(server) as http:
        yield http
