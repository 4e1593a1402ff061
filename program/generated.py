"""What is generated once when nobody has set it: keys, secrets, the first user's password; kept with the data."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass
from pathlib import Path

import orjson
from pydantic import SecretStr

from config.settings import Settings

_FILE = "generated.json"


@dataclass(frozen=True, slots=True)
class Resolved:
    """Complete settings, and the first user's password where it was generated."""

    settings: Settings
    generated_password: str | None


def resolve(settings: Settings) -> Resolved:
    """Fill in what is not set with values that were generated at the first start."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    path = settings.data_dir / _FILE
    kept: dict[str, str] = orjson.loads(path.read_bytes()) if path.exists() else {}
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


def _write(path: Path, kept: dict[str, str]) -> None:
    """Write the file whole or not at all, readable by its owner only."""
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600, exist_ok=True)
    draft.write_bytes(orjson.dumps(kept, option=orjson.OPT_INDENT_2))
    draft.replace(path)
