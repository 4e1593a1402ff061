from __future__ import annotations

import re

import pytest
from pydantic import SecretStr

from config.settings import Settings
from program.banner import show
from program.bundled_sandbox import MODEL_KEY, BundledSandbox
from program.own_client import OwnClient
from sandbox.model.model import SANDBOX_MODEL_KEY


def test_the_sandbox_stands_in_for_x_and_for_the_example_sites() -> None:
    sandbox = BundledSandbox(Settings(sandbox_port=4321))
    settings = sandbox.settings()
    assert settings.x_api_base_url == "http://127.0.0.1:4321"
    assert settings.example_sites_url == "http://127.0.0.1:4321/sandbox/web"


def test_another_stand_in_for_the_example_sites_stays() -> None:
    settings = BundledSandbox(Settings(example_sites_url="http://127.0.0.1:9/web")).settings()
    assert settings.example_sites_url == "http://127.0.0.1:9/web"


def test_the_sandbox_stands_in_for_the_model_server() -> None:
    settings = BundledSandbox(Settings(sandbox_port=4321)).settings()
    assert settings.openai_base_url == "http://127.0.0.1:4321/v1"
    assert settings.openai_api_key.get_secret_value() == MODEL_KEY == SANDBOX_MODEL_KEY


@pytest.mark.parametrize("model", [{"openai_base_url": "http://127.0.0.1:9/v1"}, {"openai_api_key": SecretStr("own")}])
def test_another_model_server_stays(model: dict[str, object]) -> None:
    own = Settings(**model)
    settings = BundledSandbox(own).settings()
    assert settings.openai_base_url == own.openai_base_url
    assert settings.openai_api_key == own.openai_api_key


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ({}, "simulated by the bundled sandbox at http://127.0.0.1:4321/v1"),
        ({"openai_base_url": "http://127.0.0.1:9/v1"}, "http://127.0.0.1:9/v1"),
        ({"openai_api_key": SecretStr("own")}, "OpenAI"),
    ],
)
async def test_the_banner_says_which_model_answers(model: dict[str, object], said: str) -> None:
    sandbox = BundledSandbox(Settings(sandbox_port=4321, **model))
    lines: list[str] = []
    settings = sandbox.settings()
    await show(OwnClient(settings), settings, generated_password=None, sandbox_url=sandbox.url, write=lines.append)
    assert re.findall(r"^  AI +(.*)$", "\n".join(lines), re.MULTILINE) == [said]
    assert "own" not in "\n".join(lines)
    assert MODEL_KEY not in "\n".join(lines)


async def test_the_banner_says_that_there_is_no_model_where_none_is_set() -> None:
    lines: list[str] = []
    settings = Settings(x_consumer_key="real")
    await show(OwnClient(settings), settings, generated_password=None, sandbox_url=None, write=lines.append)
    assert "  AI            (none)" in lines
