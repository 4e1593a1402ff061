"""`run.py config`: every setting, its value, and where that comes from; secrets are masked."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import SecretStr

from config.environment import from_environment
from config.settings import PREFIX, Settings


def show_config(settings: Settings, write: Callable[[str], None]) -> None:
    """Print all settings."""
    width = max(len(PREFIX + name) for name in Settings.model_fields)
    for name, described in Settings.model_fields.items():
        variable = PREFIX + name.upper()
        value = getattr(settings, name)
        shown = ("********" if value.get_secret_value() else "") if isinstance(value, SecretStr) else str(value)
        source = "environment" if from_environment(variable) else "default"
        write(f"{variable:<{width}}  {shown or '(empty)':<28}  {source:<11}  {described.description}")
