from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from pydantic import SecretStr

from actors.clients.x_app import XApp
from actors.clients.x_client import XClient
from actors.clients.x_transport import open_session
from config.settings import Settings
from domain.clock import SystemClock
from tests.actors.clients.x_server import BEARER, CONSUMER_KEY, CONSUMER_SECRET, TOKEN, TOKEN_SECRET, XServer
from tests.serving import everything, serving


def x_settings(url: str, timeout_s: float = 20) -> Settings:
    return Settings(
        x_api_base_url=url,
        x_consumer_key=CONSUMER_KEY,
        x_consumer_secret=SecretStr(CONSUMER_SECRET),
        x_bearer_token=SecretStr(BEARER),
        x_timeout_s=timeout_s,
    )


@pytest.fixture
async def x_server() -> AsyncIterator[XServer]:
    server = XServer()
    async with serving(everything(server.handle)) as server.url:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as session:
        yield session


@pytest.fixture
def x_app(x_server: XServer, session: aiohttp.ClientSession) -> XApp:
    return XApp(x_settings(x_server.url), session, SystemClock())


@pytest.fixture
def x_client(x_app: XApp) -> XClient:
    return x_app.client_for(TOKEN, TOKEN_SECRET)
