"""The environment of child processes: the settings as they are in force, generated ones included."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import SecretStr

from config.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parent.parent


def child_environment(settings: Settings, **extra: str) -> dict[str, str]:
    """Return this process's environment with every setting written out, so that a child reads the same values."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}  # noqa: TID251
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        if text:
            environment[PREFIX + name.upper()] = text
    paths = [str(ROOT), *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    environment["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    return environment | extra


def set_here(**variables: str) -> None:
    """Set variables that libraries read for themselves, in this process."""
    os.environ.update(variables)  # noqa: TID251  # the one place that writes the environment


def from_environment(name: str) -> str:
    """Return a variable that is no setting of ours, empty when it is not set."""
    return os.environ.get(name, "")  # noqa: TID251  # the one place that reads it
