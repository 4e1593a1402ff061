from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from pydantic import SecretStr

from config.environment import ROOT
from config.settings import Settings
from domain.clock import SystemClock
from gateway.tokens import AccessTokens
from program.people import CannotManage, access_token, create_merchant, create_user, list_users
from storage.client import Database
from storage.embedded import EmbeddedMongo
from storage.users import Users


def change(settings: Settings, **update: object) -> Settings:
    return settings.model_copy(update=update)


async def person(settings: Settings, email: str = "ann@example.com", *roles: str) -> tuple[str, str]:
    """Return the id of a new merchant and the password of its new user."""
    (merchant_id,) = await create_merchant(settings, "A shop")
    lines = await create_user(settings, merchant_id, email, roles or ["owner"], "")
    return merchant_id, lines[-1].split()[-1]


async def test_a_user_that_was_created_can_log_in(settings: Settings, database: Database) -> None:
    merchant_id, password = await person(settings, "Ann@Example.com", "admin", "agent")
    user = await Users(database).by_email("ann@example.com")
    assert user is not None
    assert (user["merchantId"], user["name"], user["roles"], user["status"]) == (
        merchant_id,
        "Ann",
        ["admin", "agent"],
        "active",
    )
    assert PasswordHasher().verify(user["passwordHash"], password)


async def test_every_user_of_every_merchant_is_listed(settings: Settings, database: Database) -> None:
    one, _ = await person(settings, "ann@example.com")
    two, _ = await person(settings, "bob@example.com", "viewer")
    listed = [line.split("\t") for line in await list_users(settings)]
    assert [(line[0], line[1], *line[3:]) for line in listed] == [
        (one, "A shop", "ann@example.com", "owner", "active"),
        (two, "A shop", "bob@example.com", "viewer", "active"),
    ]


async def test_a_token_speaks_for_the_user_for_as_long_as_was_asked(settings: Settings, database: Database) -> None:
    merchant_id, _ = await person(settings)
    (token,) = await access_token(settings, "ANN@example.com", 5)
    principal = await AccessTokens(settings, SystemClock()).verify(token)
    assert (principal.merchant_id, set(principal.roles)) == (merchant_id, {"owner"})
    await database["users"].update_one({"email": "ann@example.com"}, {"$set": {"status": "disabled"}})
    with pytest.raises(CannotManage, match="disabled"):
        await access_token(settings, "ann@example.com", 5)


async def test_what_can_t_be_done_names_the_option(settings: Settings, database: Database) -> None:
    merchant_id, _ = await person(settings)
    for option, merchant, email, roles in [
        ("--merchant", "nobody", "bob@example.com", ["owner"]),
        ("--email", merchant_id, "ANN@example.com", ["owner"]),
        ("--email", merchant_id, "no address", ["owner"]),
        ("--role", merchant_id, "bob@example.com", ["root"]),
        ("--role", merchant_id, "bob@example.com", []),
    ]:
        with pytest.raises(CannotManage, match=f"^{option}: "):
            await create_user(settings, merchant, email, roles, "")
    with pytest.raises(CannotManage, match=r"^--name"):
        await create_merchant(settings, " ")
    with pytest.raises(CannotManage, match=r"^--email"):
        await access_token(settings, "bob@example.com", 5)
    external = change(settings, jwt_secret=SecretStr(""), jwt_jwks_url="http://127.0.0.1:9/keys")
    with pytest.raises(CannotManage, match="elsewhere"):
        await access_token(external, "ann@example.com", 5)
    assert await database["users"].count_documents({}) == 1


async def test_a_database_out_of_reach_is_said_in_one_line_without_its_address(settings: Settings) -> None:
    away = change(settings, mongodb_uri=SecretStr("mongodb://u:hidden@127.0.0.1:9/"), mongodb_timeout_s=1)
    with pytest.raises(CannotManage, match="not to be reached") as failed:
        await list_users(away)
    assert "hidden" not in str(failed.value)


async def test_nothing_is_created_where_the_program_was_never_started(settings: Settings, tmp_path: Path) -> None:
    never = change(settings, mongodb_uri=SecretStr(""), data_dir=tmp_path / "never")
    with pytest.raises(CannotManage, match="holds no database yet"):
        await create_merchant(never, "A shop")
    assert not never.data_dir.exists()


async def test_the_embedded_database_is_that_of_the_program_whether_it_runs_or_not(
    settings: Settings, tmp_path: Path
) -> None:
    embedded = change(settings, mongodb_uri=SecretStr(""))
    mongo = EmbeddedMongo(tmp_path)
    await mongo.start()
    with (tmp_path / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        await person(embedded, "while.it.runs@example.com")
        await mongo.stop()
        with pytest.raises(CannotManage, match="does not run"):
            await list_users(embedded)
    await person(embedded, "while.it.does.not@example.com")
    emails = [line.split("\t")[3] for line in await list_users(embedded)]
    assert emails == ["while.it.runs@example.com", "while.it.does.not@example.com"]


async def run(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "run.py"),
        *arguments,
        env={name: value for name, value in os.environ.items() if not name.startswith("MKTX_")}
        | {
            "MKTX_MONGODB_URI": settings.mongodb_uri.get_secret_value(),
            "MKTX_MONGODB_DATABASE": settings.mongodb_database,
            "MKTX_DATA_DIR": str(settings.data_dir),
            "MKTX_JWT_SECRET": settings.jwt_secret.get_secret_value(),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return int(process.returncode or 0), out.decode(), err.decode()


async def test_the_command_line_prints_the_token_and_nothing_else(settings: Settings, database: Database) -> None:
    code, merchant_id, _ = await run(settings, "merchant", "create", "--name", "A shop")
    assert code == 0
    code, shown, _ = await run(
        settings, "user", "create", "--merchant", merchant_id.strip(), "--email", "ann@example.com", "--role", "owner"
    )
    assert (code, [line.split()[0] for line in shown.splitlines()]) == (0, ["id", "email", "password"])
    code, token, _ = await run(settings, "token", "--email", "ann@example.com", "--minutes", "5")
    assert code == 0
    assert (await AccessTokens(settings, SystemClock()).verify(token.strip())).merchant_id == merchant_id.strip()
    code, listed, _ = await run(settings, "user", "list")
    assert (code, "ann@example.com" in listed) == (0, True)
    code, out, err = await run(settings, "token", "--email", "bob@example.com")
    assert (code, out, err) == (1, "", "error: --email: there is no user with this address\n")
