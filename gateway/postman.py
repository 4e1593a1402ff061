"""A Postman collection (v2.1) made from the API description, in an order that runs from top to bottom.

Tokens and ids are stored by scripts as they come; what was created is removed in the last folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.openapi import short_path
from gateway.openapi_by_hand import LINK_PATH
from gateway.openapi_schemas import Node

SCHEMA: Final = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"

_NAME = re.compile(r"{(\w+)}")
_JSON = "application/json"
_LOGIN = "/api/v1/auth/login"
_REFRESH = "/api/v1/auth/refresh"
_LOGOUT = "/api/v1/auth/logout"
_CHANGE = "/api/v1/auth/password"
_RESET = "/api/v1/auth/password/reset"
_TAG = "tagName"
_CLEAN_UP = "Clean up"
_STREAM = "text/event-stream"
_LAST = 9

#: What stands in a body for what only a run knows; the rest is the description's example.
_BODIES: Mapping[tuple[str, str], Node] = {
    ("POST", _LOGIN): {"email": "{{email}}", "password": "{{password}}"},
    ("POST", _REFRESH): {"refreshToken": "{{refreshToken}}"},
    ("POST", _LOGOUT): {"refreshToken": "{{refreshToken}}"},
    ("PUT", _CHANGE): {"oldPassword": "{{password}}", "newPassword": "{{newPassword}}"},
    ("POST", _RESET): {"token": "{{resetToken}}", "newPassword": "{{newPassword}}"},
    ("POST", "/accounts"): {"oauthToken": "{{oauthToken}}", "oauthTokenSecret": "{{oauthTokenSecret}}"},
    ("POST", "/contacts"): {"twitterUserId": "{{$timestamp}}"},
    ("POST", "/users"): {"email": "user-{{$guid}}@example.com"},
    ("POST", "/conversations/{conversationId}/assign"): {"userId": "{{callerId}}"},
    ("POST", "/contacts/{contactId}/merge"): {"contactId": "{{otherContactId}}"},
}
#: Where a name has no spaces.
_ONE_WORD = frozenset({("POST", "/ai/tools")})
#: Fields of bodies that hold ids which the run has got.
_REFERENCES = frozenset({"accountId", "contactId", "templateId", "segmentId", "flowId", "campaignId"})
_REFERENCE_LISTS = {"contactIds": "contactId", "segmentIds": "segmentId"}

#: Statuses that are as good as 200 on a program that has run before. A campaign is in no state to be moved where it was
#: not started, or is over already. A conversation may be closed by then.
_ALSO_RIGHT: Mapping[tuple[str, str], tuple[int, ...]] = {
    ("POST", "/accounts"): (409,),
    ("POST", "/accounts/{accountId}/reactivate"): (409,),
    ("POST", "/conversations/{conversationId}/messages"): (409,),
    ("POST", "/ai/conversations/{conversationId}/escalate"): (409,),
    ("POST", "/ai/conversations/{conversationId}/hand-back"): (409,),
    **{
        ("POST", f"/campaigns/{{campaignId}}/{move}"): (409,)
        for move in ("pause", "resume", "retry-failed", "unschedule", "cancel")
    },
}
#: Folders that stand before another one than in the API document: what that one needs is made in them.
_EARLIER = {"Segment Management": "Campaign Management"}
#: What is only done when a variable says `yes`.
_ON_DEMAND: Mapping[tuple[str, str], str] = {
    ("DELETE", "/accounts/{accountId}"): "disconnect",
    ("POST", "/conversations/{conversationId}/messages"): "sendMessages",
    ("POST", "/campaigns/{campaignId}/start"): "sendMessages",
    ("POST", "/campaigns/{campaignId}/test"): "sendMessages",
    ("POST", "/automation/flows/{flowId}/activate"): "sendMessages",
    ("POST", "/automation/flows/{flowId}/trigger"): "sendMessages",
}
#: What is only done where a variable that the run does not set itself has a value.
_IF_GIVEN: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("PUT", _CHANGE): ("newPassword",),
    ("POST", _RESET): ("resetToken", "newPassword"),
    ("POST", "/contacts/{contactId}/merge"): ("otherContactId",),
}
#: Not asked for at all: only X can sign, and the links are in messages that were sent.
_LEFT_OUT = frozenset({("POST", "/webhooks/twitter"), ("GET", LINK_PATH)})

_PAUSE = """if (pm.collectionVariables.get("callsLeft") === "0") {
  const reset = Number(pm.collectionVariables.get("callsReset")) * 1000;
  pm.collectionVariables.set("callsLeft", "");
  setTimeout(() => {}, Math.max(0, reset - Date.now()) + 1000);
}"""
_COUNT = """pm.collectionVariables.set("callsLeft", pm.response.headers.get("X-RateLimit-Remaining") || "");
pm.collectionVariables.set("callsReset", pm.response.headers.get("X-RateLimit-Reset") || "");"""
_STORE_TOKENS = """const tokens = pm.response.json().data;
pm.collectionVariables.set("accessToken", tokens.accessToken);
pm.collectionVariables.set("refreshToken", tokens.refreshToken);
const claims = tokens.accessToken.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
pm.collectionVariables.set("callerId", JSON.parse(atob(claims)).sub);"""
_FIND = """const works = (each) => !each.status || ["open", "active"].includes(each.status);
const found = pm.response.json().data.find(works);"""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation of the description."""

    method: str
    path: str
    operation: Node

    @property
    def key(self) -> tuple[str, str]:
        """The method, and the path below the base path."""
        return self.method, short_path(self.path)

    @property
    def names(self) -> list[str]:
        """The parameters of the path."""
        return _NAME.findall(self.path)

    @property
    def removes(self) -> bool:
        """Whether something that was created is gone after it."""
        return self.key == ("POST", _LOGOUT) or (self.method == "DELETE" and self.path.endswith("Id}"))

    @property
    def rank(self) -> tuple[int, int]:
        """Where it stands in its folder: create, list, read, change, act, remove parts, close."""
        if self.path.endswith("/close"):
            return _LAST, 0
        creates = self.method == "POST" and not self.names
        # What belongs to one thing is made by an action on it, and changed after that.
        method = "POST" if self.method == "PUT" and len(self.names) > 1 else self.method
        order = 0 if creates else 1 + ("GET", "PUT", "PATCH", "POST", "DELETE").index(method)
        return order, len(self.names)


def collection(document: Node, base_url: str, *, is_simulated: bool) -> Node:
    """Return the collection of a description; messages are only sent by themselves where X is simulated."""
    steps = list(_steps(document))
    folders: dict[str, list[Node]] = {name: [] for name in _order(document)}
    for step in sorted((step for step in steps if not step.removes), key=lambda step: step.rank):
        folders[step.operation["tags"][0]].append(_item(step, document))
    # What depends on other things goes before them.
    removing = [_item(step, document) for step in reversed([step for step in steps if step.removes])]
    variables = {
        "baseUrl": base_url,
        "email": "owner@example.com",
        "password": "",
        "oauthToken": "sandbox-token-100",
        "oauthTokenSecret": "sandbox-secret-100",
        "sendMessages": "yes" if is_simulated else "no",
        "disconnect": "no",
        "accessToken": "",
        _TAG: "vip",
    }
    return {
        "info": {
            "_postman_id": "7d1c0f52-30b4-4c53-9a55-0d6b1e3f8a01",
            "name": document["info"]["title"],
            "description": "Set `email` and `password`, and run it from top to bottom; `sendMessages` and `disconnect` "
            "say `yes` where messages are to be sent and the account is to be disconnected in the end. What needs "
            "`newPassword`, `resetToken` or `otherContactId` is left out where these have no value.",
            "schema": SCHEMA,
        },
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{accessToken}}", "type": "string"}]},
        "event": [_script("prerequest", _PAUSE), _script("test", _COUNT)],
        "variable": [{"key": name, "value": value, "type": "string"} for name, value in variables.items()],
        "item": [
            *({"name": name, "item": items} for name, items in folders.items() if items),
            {"name": _CLEAN_UP, "item": removing},
        ],
    }


def _order(document: Node) -> list[str]:
    names = [tag["name"] for tag in document["tags"] if tag["name"] not in _EARLIER]
    for name, later in _EARLIER.items():
        names.insert(names.index(later) if later in names else len(names), name)
    return names


def _steps(document: Node) -> Iterator[Step]:
    order = _order(document)
    found = [
        Step(method.upper(), path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    for step in sorted(found, key=lambda step: order.index(step.operation["tags"][0])):
        if step.key not in _LEFT_OUT and _STREAM not in step.operation["responses"]["200"].get("content", {}):
            yield step


def _item(step: Step, document: Node) -> Node:
    request: Node = {
        "method": step.method,
        "description": step.operation.get("description", ""),
        "header": [],
        "url": _url(step),
    }
    if step.operation.get("security") == []:
        request["auth"] = {"type": "noauth"}
    content = step.operation.get("requestBody", {}).get("content", {})
    if content:
        media = next(iter(content))
        body = _body(step, content[media].get("example"))
        request["header"] = [{"key": "Content-Type", "value": media}]
        request["body"] = {"mode": "raw", "raw": body, "options": {"raw": {"language": "json"}}}
    events = [_script("test", "\n".join(_tests(step, document)))]
    needed = _needed(step)
    if needed:
        events.insert(0, _script("prerequest", "\n".join(needed)))
    return {"name": step.operation["summary"], "event": events, "request": request, "response": []}


def _url(step: Step) -> Node:
    path = _NAME.sub(r"{{\1}}", step.path)
    query = [
        {"key": each["name"], "value": _text(each["example"])}
        for each in step.operation.get("parameters", [])
        if each.get("in") == "query" and each.get("required") and "example" in each
    ]
    asked = "&".join(f"{each['key']}={each['value']}" for each in query)
    raw = "{{baseUrl}}" + path + (f"?{asked}" if asked else "")
    url: Node = {"raw": raw, "host": ["{{baseUrl}}"], "path": path.strip("/").split("/")}
    return url | ({"query": query} if query else {})


def _body(step: Step, example: object) -> str:
    if not isinstance(example, dict):
        return example if isinstance(example, str) else _text(example)
    body = _filled(example) | _BODIES.get(step.key, {})
    if isinstance(body.get("name"), str):
        # Names may have to be unique, also over several runs.
        body["name"] += ("_" if step.key in _ONE_WORD else " ") + "{{$timestamp}}"
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).decode()


def _filled(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, key) for key, each in value.items()}
    if isinstance(value, list):
        known = _REFERENCE_LISTS.get(name)
        return ["{{" + known + "}}"] if known else [_filled(each) for each in value]
    return "{{" + name + "}}" if name in _REFERENCES and isinstance(value, str) else value


def _needed(step: Step) -> list[str]:
    """Return the script that leaves a request out where there is nothing yet to make it with."""
    needed = [f'!pm.variables.get("{name}")' for name in step.names]
    if step.key in _ON_DEMAND:
        needed.append(f'pm.variables.get("{_ON_DEMAND[step.key]}") !== "yes"')
    needed += [f'!pm.variables.get("{name}")' for name in _IF_GIVEN.get(step.key, ())]
    if step.key == ("POST", _LOGIN):
        needed.append('(pm.variables.get("accessToken") && !pm.variables.get("password"))')
    if step.path in {_REFRESH, _LOGOUT}:
        needed.append('!pm.variables.get("refreshToken")')
    return [f"if ({' || '.join(needed)}) {{", "  pm.execution.skipRequest();", "}"] if needed else []


def _tests(step: Step, document: Node) -> Iterator[str]:
    answers = step.operation["responses"]
    right = [int(status) for status in answers if status.startswith("2")] + list(_ALSO_RIGHT.get(step.key, ()))
    yield f'pm.test("answers {right[0]}", () => pm.expect(pm.response.code).to.be.oneOf({_text(right)}));'
    schema = answers["200"].get("content", {}).get(_JSON, {}).get("schema", {})
    if "data" in schema.get("properties", {}):
        yield 'pm.test("answers in the API\'s shape", () => pm.expect(pm.response.json()).to.have.property("success"));'
    if step.path in {_LOGIN, _REFRESH, _CHANGE}:
        yield _STORE_TOKENS
    if step.path == _LOGIN:
        # Ids of a run before this one may be of things that are gone.
        names = sorted({name for path in document["paths"] for name in _NAME.findall(path)} - {_TAG})
        yield f"for (const name of {_text(names)}) pm.collectionVariables.unset(name);"
    below = _NAME.search(_below(step.path, document))
    if below is None or below.group(1) == _TAG:
        return
    variable = below.group(1)
    if step.method == "POST":
        yield f'if (pm.response.code === 200) pm.collectionVariables.set("{variable}", pm.response.json().data.id);'
    elif step.method == "GET" and not step.names:
        yield _FIND
        yield f'if (found && !pm.collectionVariables.get("{variable}")) {{'
        yield f'  pm.collectionVariables.set("{variable}", found.id);'
        yield "}"


def _below(path: str, document: Node) -> str:
    """Return the rest of the path of one thing of what a list's path has; several jobs have a plural of their own."""
    return next((each.removeprefix(path) for each in document["paths"] if re.fullmatch(rf"{path}s?/{{\w+}}", each)), "")


def _script(listen: str, text: str) -> Node:
    return {"listen": listen, "script": {"type": "text/javascript", "exec": text.split("\n")}}


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
