"""The bundled sandbox beside the program: a simulated X and model server in a process, and an account connected."""

from __future__ import annotations

import sys
from typing import Final

import aiohttp
from pydantic import SecretStr

from config.environment import child_environment
from config.settings import Settings
from program.child import Child
from program.own_client import CallFailed, OwnClient
from storage.embedded import free_port

CONSUMER_KEY: Final = "sandbox-consumer-key"
CONSUMER_SECRET: Final = "sandbox-consumer-secret"  # noqa: S105  # protects nothing: the sandbox is made up
BEARER_TOKEN: Final = "sandbox-bearer-token"  # noqa: S105  # likewise
MODEL_KEY: Final = "sandbox-model-key"
#: Nobody's site, which the sandbox stands in for (`sandbox/routes/example_sites.py`).
_SHOP: Final = "https://example.com"


class BundledSandbox:
    """Starts the simulated X and model server, and points the program to them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._port = settings.sandbox_port or free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        #: Base URL of the simulated model server, as OpenAI's clients take it.
        self.model_url = f"{self.url}/v1"

    def settings(self) -> Settings:
        """Return the settings with X where the sandbox is, and the model server too unless another one is set."""
        own = self._settings
        model_is_set = own.openai_base_url or own.openai_api_key.get_secret_value()
        model = {} if model_is_set else {"openai_base_url": self.model_url, "openai_api_key": SecretStr(MODEL_KEY)}
        return own.model_copy(
            update={
                **model,
                "x_api_base_url": self.url,
                "x_upload_base_url": "",
                "example_sites_url": own.example_sites_url or f"{self.url}/sandbox/web",
                "x_consumer_key": CONSUMER_KEY,
                "x_consumer_secret": SecretStr(CONSUMER_SECRET),
                "x_bearer_token": SecretStr(BEARER_TOKEN),
                "public_url": own.public_url or f"http://127.0.0.1:{own.port}",
            }
        )

    def child(self) -> Child:
        """Return the process to start."""
        own = self._settings
        command = [
            sys.executable,
            "-m",
            "sandbox",
            f"--port={self._port}",
            f"--customers={own.sandbox_customers}",
            f"--rate={own.sandbox_rate}",
            f"--account-id={own.sandbox_account_id}",
            f"--journal={own.data_dir.absolute() / 'sandbox.jsonl'}",
        ]
        output = own.data_dir.absolute() / "logs" / "sandbox.log"
        return Child("sandbox", command, child_environment(own), output=output)


async def have_customer_write(sandbox_url: str) -> None:
    """Have a simulated customer write to the shop now, so that there is a conversation to begin with."""
    async with aiohttp.ClientSession() as session:
        await session.post(f"{sandbox_url}/sandbox/load", json={"count": 1, "rate": 10})


async def offer_look_up(api: OwnClient) -> None:
    """Let the chatbot look orders up at the sandbox's shop, unless the merchant has look-ups already."""
    if await api.call("GET", "/ai/tools"):
        return
    number = {"name": "orderId", "description": "Number of the order", "pattern": "[0-9]{1,20}"}
    body = {
        "name": "order_status",
        "description": "Looks up whether an order was shipped, and when it is expected to arrive",
        "url": f"{_SHOP}/orders/{{{{orderId}}}}",
        "parameters": [number],
    }
    await api.call("POST", "/ai/tools", body)


async def connect_account(api: OwnClient, settings: Settings) -> str:
    """Connect the sandbox's shop account, unless it is; returns the account's id."""
    account_id = settings.sandbox_account_id
    accounts = await api.call("GET", "/accounts")
    for account in accounts if isinstance(accounts, list) else []:
        if account["twitterUserId"] == account_id and account["status"] == "active":
            return str(account["id"])
    body = {"oauthToken": f"sandbox-token-{account_id}", "oauthTokenSecret": f"sandbox-secret-{account_id}"}
    account = await api.call("POST", "/accounts", body)
    if not isinstance(account, dict):
        raise CallFailed("the account could not be connected")
    return str(account["id"])
