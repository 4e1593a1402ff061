"""What a person sees when the program is ready: where it is, how to get in, and a first thing to do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from config.settings import Settings
from gateway.paths import API
from program.bundled_sandbox import have_customer_write
from program.own_client import CallFailed, OwnClient

Print = Callable[[str], None]


async def show(
    api: OwnClient, settings: Settings, *, generated_password: str | None, sandbox_url: str | None, write: Print
) -> None:
    """Print the banner."""
    write("")
    write(f"  ready at      {api.base_url}")
    write(f"  login         {settings.admin_email}")
    write(f"  password      {generated_password or '(as set in MKTX_ADMIN_PASSWORD)'}")
    write(f"  token         {api.token or '(none)'}")
    if sandbox_url:
        write(f"  X             simulated by the bundled sandbox at {sandbox_url}")
        write("                (set MKTX_X_CONSUMER_KEY and its companions for the real X)")
    else:
        write(f"  X             {settings.x_api_base_url}")
    if sandbox_url and settings.openai_base_url == f"{sandbox_url}/v1":
        write(f"  AI            simulated by the bundled sandbox at {settings.openai_base_url}")
        write("                (set MKTX_OPENAI_API_KEY or MKTX_OPENAI_BASE_URL for a real model)")
    else:
        write(f"  AI            {_model(settings)}")
    write("")
    if sandbox_url and api.token:
        await _first_steps(api, settings, sandbox_url, write)
    write("  Ctrl-C stops it; the data stays in " + str(settings.data_dir))
    write("")


def _model(settings: Settings) -> str:
    """Return which model server is set; a key alone is one of OpenAI's own."""
    if settings.openai_base_url:
        return settings.openai_base_url
    return "OpenAI" if settings.openai_api_key.get_secret_value() else "(none)"


async def _first_steps(api: OwnClient, settings: Settings, sandbox_url: str, write: Print) -> None:
    authorization = f"-H 'Authorization: Bearer {api.token}'"
    await have_customer_write(sandbox_url)
    conversation_id = await _first_conversation(api)
    write("  Simulated customers are writing to the shop. Their conversations:")
    write(f"    curl -s {authorization} {api.base_url}{API}/conversations")
    write("  Answer one:")
    write(f"    curl -s {authorization} -H 'Content-Type: application/json' \\")
    write('      -d \'{"content": "Hello! How can we help?", "type": "text"}\' \\')
    write(f"      {api.base_url}{API}/conversations/{conversation_id}/messages")
    write("  See it arrive in the simulated X:")
    write(f"    curl -s '{sandbox_url}/sandbox/messages?account={settings.sandbox_account_id}'")
    write("  Ask the chatbot, which looks the order up:")
    write(f"    curl -s {authorization} -H 'Content-Type: application/json' \\")
    write('      -d \'{"message": "What is the status of my order #12345?"}\' \\')
    write(f"      {api.base_url}{API}/ai/conversations/{conversation_id}/message")
    write("  Let it answer the customers:")
    write(f"    curl -s {authorization} -H 'Content-Type: application/json' -X PUT \\")
    write(f"      -d '{{\"enabled\": true}}' {api.base_url}{API}/ai/settings")
    write("")


async def _first_conversation(api: OwnClient) -> str:
    """Return the id of a conversation that can be answered, once a customer has written."""
    for _ in range(100):
        try:
            conversations = await api.call("GET", "/conversations?status=open&take=1")
        except CallFailed:
            conversations = []
        if isinstance(conversations, list) and conversations:
            return str(conversations[0]["id"])
        await asyncio.sleep(0.1)
    return "CONVERSATION_ID"
