from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from domain.ids import new_id
from gateway.app import API_ROUTES
from gateway.openapi import build
from gateway.openapi_by_hand import COLLECTION_PATHS
from gateway.passwords import Passwords
from gateway.postman import SCHEMA, collection
from storage.users import UserDocument
from tests.gateway.conftest import NOW, Api
from tests.gateway.whole_app import serve_whole
from tests.gateway.x_server import XState

DOCUMENT = build(API_ROUTES, ["http://127.0.0.1:5000"])
COLLECTION = collection(DOCUMENT, "http://127.0.0.1:5000", is_simulated=True)
PASSWORD = "a good password"
#: What Postman itself makes.
DYNAMIC = {"$timestamp", "$guid"}


def items() -> Iterator[dict[str, Any]]:
    for folder in COLLECTION["item"]:
        yield from folder["item"]


def script(item: dict[str, Any], listen: str) -> str:
    return "\n".join(line for event in item["event"] if event["listen"] == listen for line in event["script"]["exec"])


def used(item: dict[str, Any]) -> set[str]:
    return set(re.findall(r"{{(.+?)}}", orjson.dumps(item["request"] | {"description": ""}).decode())) - DYNAMIC


def operation_of(item: dict[str, Any]) -> tuple[str, str]:
    path = item["request"]["url"]["raw"].removeprefix("{{baseUrl}}").split("?")[0]
    return item["request"]["method"], re.sub(r"{{(\w+)}}", r"{\1}", path)


def test_every_operation_is_in_the_collection_once_but_what_only_x_can_sign() -> None:
    described = {(method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    collected = [operation_of(item) for item in items()]
    assert len(collected) == len(set(collected))
    assert {path for _, path in described - set(collected)} <= {
        "/api/v1/mkt-x/webhooks/twitter",
        "/api/v1/mkt-x/events",
        "/l/{code}",
    }
    assert set(collected) <= described


def test_the_collection_has_the_form_of_version_2_1() -> None:
    assert COLLECTION["info"]["schema"] == SCHEMA
    for item in items():
        url = item["request"]["url"]
        assert url["raw"].split("?")[0] == "/".join([*url["host"], *url["path"]])
        assert url["host"] == ["{{baseUrl}}"]
        assert "pm.test(" in script(item, "test")
        body = item["request"].get("body")
        assert body is None or (body["mode"] == "raw" and isinstance(orjson.loads(body["raw"]), dict))


#: Variables of a message template, in the same braces: Postman sends what it does not know as it is.
OF_THE_TEMPLATE = {"name", "shop_name", "discount_code"}
#: A parameter of a look-up, likewise.
OF_THE_TOOL = {"orderId"}


def test_what_a_request_uses_is_known_before_it_or_it_is_left_out() -> None:
    known = {each["key"] for each in COLLECTION["variable"]}
    for item in items():
        checked = set(re.findall(r'!pm\.variables\.get\("(\w+)"\)', script(item, "prerequest")))
        assert used(item) - OF_THE_TEMPLATE - OF_THE_TOOL <= known | checked, item["name"]
        known |= set(re.findall(r'collectionVariables\.set\("(\w+)"', script(item, "test")))


def test_it_begins_with_the_login_and_ends_with_the_logout() -> None:
    paths = [operation_of(item)[1] for item in items()]
    assert paths[0].endswith("/auth/login")
    assert paths[-1].endswith("/auth/logout")


def test_what_was_created_is_removed_in_the_end_and_the_account_stays() -> None:
    *_, last = COLLECTION["item"]
    assert last["name"] == "Clean up"
    assert all(operation_of(item)[0] == "DELETE" for item in last["item"][:-1])
    account = next(item for item in last["item"] if operation_of(item)[1].endswith("/accounts/{accountId}"))
    assert 'pm.variables.get("disconnect") !== "yes"' in script(account, "prerequest")


def test_messages_are_sent_by_themselves_only_where_x_is_simulated() -> None:
    real = collection(DOCUMENT, "https://api.example.com", is_simulated=False)
    assert {each["key"]: each["value"] for each in real["variable"]}["sendMessages"] == "no"
    assert {each["key"]: each["value"] for each in COLLECTION["variable"]}["sendMessages"] == "yes"


@pytest.mark.parametrize("path", COLLECTION_PATHS)
async def test_the_collection_is_served_without_a_token_and_holds_no_secret(api: Api, path: str) -> None:
    answer = await api.http.get(path)
    assert (answer.status, answer.content_type) == (200, "application/json")
    served = await answer.json()
    assert served["info"]["schema"] == SCHEMA
    assert {each["key"]: each["value"] for each in served["variable"]}["password"] == ""


async def test_newman_runs_it_green(api: Api, passwords: Passwords, x_state: XState, tmp_path: Path) -> None:
    newman = shutil.which("newman")
    if newman is None:
        pytest.skip("newman is not installed")
    email, token = f"{api.user_id}@example.com", new_id()
    user: UserDocument = {
        "_id": api.user_id,
        "merchantId": api.merchant_id,
        "email": email,
        "passwordHash": await passwords.hash(PASSWORD),
        "name": "Owner",
        "roles": ["owner"],
        "status": "active",
        "createdAt": NOW,
    }
    await api.deps.repositories.users.insert(user)
    x_state.register(token, str(uuid4().int)[:18], "goodgo_shop")
    await api.dialogue()
    path = tmp_path / "collection.json"
    path.write_bytes(orjson.dumps(COLLECTION))
    async with serve_whole(api.deps) as http:
        given = {
            "baseUrl": str(http.make_url("")).rstrip("/"),
            "email": email,
            "password": PASSWORD,
            "oauthToken": token,
            "oauthTokenSecret": "secret-of-the-token",
        }
        options = [option for name, value in given.items() for option in ("--env-var", f"{name}={value}")]
        # Twice: what is there from the first run must not be in the way of the second.
        sent: list[bool] = []
        for _ in range(2):
            process = await asyncio.create_subprocess_exec(
                newman, "run", str(path), "--color", "off", *options, stdout=asyncio.subprocess.PIPE
            )
            output, _ = await process.communicate()
            assert process.returncode == 0, output.decode()
            sent.append("/messages [200 OK" in output.decode() or "/messages [202" in output.decode())
        # In the second run the one conversation is closed.
        assert sent == [True, False]
