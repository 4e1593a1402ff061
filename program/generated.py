"""What is generated once when nobody has set it: keys, secrets, the first user's password; kept with the data."""

from __future__ import annotations

import base64
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import SecretStr

from config.settings import Settings, WrongSetting

_FILE = "generated.json"


@dataclass(frozen=True, slots=True)
class Resolved:
    """Complete settings, and the first user's password where it was generated."""

    settings: Settings
    generated_password: str | None


def resolve(settings: Settings) -> Resolved:
    """Fill in what is not set with values that were generated at the first start.

    Raises:
        WrongSetting: when what was generated can't be read; new values would make the data unreadable.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    path = settings.data_dir / _FILE
    kept = _read(path)
    before = dict(kept)
    external = bool(settings.jwt_public_key or settings.jwt_jwks_url)
    update: dict[str, object] = {}
    if not external and not settings.jwt_secret.get_secret_value():
        update["jwt_secret"] = SecretStr(kept.setdefault("jwtSecret", secrets.token_urlsafe(48)))
    if not settings.encryption_key.get_secret_value():
        key = kept.setdefault("encryptionKey", base64.b64encode(secrets.token_bytes(32)).decode())
        update["encryption_key"] = SecretStr(key)
    if not settings.admin_email:
        update["admin_email"] = kept.setdefault("adminEmail", "owner@example.com")
    password = None
    if not settings.admin_password.get_secret_value():
        password = kept.setdefault("adminPassword", secrets.token_urlsafe(12))
        update["admin_password"] = SecretStr(password)
    if kept != before:
        _write(path, kept)
    return Resolved(settings.model_copy(update=update), password)


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        kept = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        kept = None
    if not isinstance(kept, dict) or not all(isinstance(value, str) for value in kept.values()):
        raise WrongSetting(f"MKTX_DATA_DIR: {path} can't be read; it holds the keys of the data beside it")
    return kept


def _write(path: Path, kept: dict[str, str]) -> None:
    """Write the file whole or not at all, readable by its owner only, and durably: its keys open what is stored."""
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    with draft.open("wb") as file:
        file.write(orjson.dumps(kept, option=orjson.OPT_INDENT_2))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
