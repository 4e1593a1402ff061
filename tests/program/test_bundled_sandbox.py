from __future__ import annotations

from config.settings import Settings
from program.bundled_sandbox import BundledSandbox


def test_the_sandbox_stands_in_for_x_and_for_the_example_sites() -> None:
    sandbox = BundledSandbox(Settings(sandbox_port=4321))
    settings = sandbox.settings()
    assert settings.x_api_base_url == "http://127.0.0.1:4321"
    assert settings.example_sites_url == "http://127.0.0.1:4321/sandbox/web"


def test_another_stand_in_for_the_example_sites_stays() -> None:
    settings = BundledSandbox(Settings(example_sites_url="http://127.0.0.1:9/web")).settings()
    assert settings.example_sites_url == "http://127.0.0.1:9/web"
