"""The API description (OpenAPI 3.1), made from the route objects that also validate."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Final

from domain.errors import (
    Conflict,
    InvalidContent,
    InvalidRequest,
    LimitExceeded,
    MktxError,
    NotAllowed,
    NotFound,
    PayloadTooLarge,
    Unauthenticated,
    Unavailable,
    UnsupportedMedia,
    XRefused,
)
from domain.roles import Role
from gateway.models.base import NoBody
from gateway.models.paging import Paging
from gateway.openapi_by_hand import EVENT_STREAM, OPERATIONS, errors_of
from gateway.openapi_examples import ID, REQUESTS, sample
from gateway.openapi_schemas import REFERENCE, Node, Schemas, query_schemas
from gateway.paths import API
from gateway.routing import AnyRoute

VERSION: Final = "1.0.0"

#: Sections in the order of the API document, by the first part of a path.
SECTIONS: Mapping[str, str] = {
    "auth": "Authentication",
    "accounts": "Account Management",
    "contacts": "Contact Management",
    "conversations": "Conversation Management",
    "messages": "Conversation Management",
    "templates": "Template Management",
    "campaigns": "Campaign Management",
    "segments": "Segment Management",
    "automation": "Automation Flows",
    "ai": "AI Chatbot",
    "analytics": "Analytics",
    "webhooks": "Webhooks",
    "users": "Users",
    "api-keys": "API Keys",
    "audit": "Audit Log",
    "events": "Events",
    "webhook-endpoints": "Outgoing Webhooks",
}
_LAST_SECTION = "Operations"

#: What is answered beyond 200 where an operation was accepted, but is not settled yet.
_ALSO_ACCEPTED: Mapping[tuple[str, str], str] = {
    ("POST", f"{API}/conversations/{{conversationId}}/messages"): "X has not said yet whether it took the message.",
}
#: Codes of 400 beyond `VALIDATION_ERROR`.
_ALSO_BAD: Mapping[tuple[str, str], type[MktxError]] = {("POST", f"{API}/accounts"): XRefused}

_WITH_BODY = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PATH_NAME = re.compile(r"{([^}:]+)[^}]*}")
_HEADERS: Mapping[str, Node] = {
    "X-Request-Id": {"description": "The request's id, for questions about it.", "schema": {"type": "string"}},
    "X-RateLimit-Limit": {"description": "Calls a minute and merchant.", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "Calls that are left of them.", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {"description": "When there are more (Unix time, seconds).", "schema": {"type": "integer"}},
    "Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer"}},
    "Idempotency-Replayed": {
        "description": "`true` where this is the answer of an earlier request with the same key.",
        "schema": {"type": "string", "const": "true"},
    },
}
_BEARER: Node = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "The access token of a login, or an API key.",
}
_LIMIT_HEADERS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
_RETRIED = frozenset({429, 503})
_CSV: Node = {"text/csv": {"schema": {"type": "string"}, "example": "contactId,username\r\n"}}
_PARAMETERS: Mapping[str, Node] = {
    "RequestId": {
        "name": "X-Request-Id",
        "in": "header",
        "description": "An id of your own for the request: 1 to 128 letters, digits, `.`, `_`, `-`; else one is made.",
        "schema": {"type": "string"},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "The same key and body answers the first answer again, for 24 hours.",
        "schema": {"type": "string", "pattern": "^[!-~]{1,255}$", "minLength": 1, "maxLength": 255},
    },
    "LastEventId": {
        "name": "Last-Event-ID",
        "in": "header",
        "description": "The id of the last event that the client has seen: the stream goes on after it.",
        "schema": {"type": "string"},
    },
}


def build(routes: Sequence[AnyRoute], servers: Iterable[str]) -> Node:
    """Return the description of some routes and of what is described by hand."""
    schemas = Schemas(routes)
    answers: dict[str, Node] = {}
    paths: dict[str, Node] = {}
    for route in routes:
        paths.setdefault(public_path(route.path), {})[route.method.lower()] = _operation(route, schemas, answers)
    for path, operations in OPERATIONS.items():
        for method, operation in operations.items():
            paths.setdefault(path, {})[method] = _by_hand(operation, answers)
    used = {tag for operations in paths.values() for operation in operations.values() for tag in operation["tags"]}
    ordered = [*dict.fromkeys(SECTIONS.values()), *sorted(used - {*SECTIONS.values(), _LAST_SECTION}), _LAST_SECTION]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "X/Twitter Marketing Service",
            "version": VERSION,
            "description": "Messaging between merchants and their customers on X: accounts, contacts, conversations, "
            "and what is sent by itself.",
        },
        "servers": [{"url": url} for url in servers],
        "tags": [{"name": tag} for tag in ordered if tag in used],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": _BEARER},
            "schemas": schemas.components,
            "parameters": dict(_PARAMETERS),
            "headers": dict(_HEADERS),
            "responses": answers,
        },
    }


def public_path(path: str) -> str:
    """Return a route's path as it is published: without the patterns that its ids must have."""
    return _PATH_NAME.sub(r"{\1}", path)


def short_path(path: str) -> str:
    """Return a path as the API document has it: below the base path."""
    return path.removeprefix(API)


def section_of(path: str) -> str:
    """Return the section that a path belongs to, by its first part below the base path."""
    first = path.removeprefix(API).removeprefix("/api/v1").strip("/").split("/")[0]
    return SECTIONS.get(first, first.replace("-", " ").title())


def _operation(route: AnyRoute, schemas: Schemas, answers: dict[str, Node]) -> Node:
    roles = [role.value for role in Role if role in route.roles]
    said = inspect.getdoc(route.handler) or f"{route.summary}."
    operation: Node = {
        "operationId": _camel(route.handler.__name__),
        "tags": [section_of(route.path)],
        "summary": route.summary,
        "description": said if route.public else f"{said}\n\n{_who_may(route, roles)}",
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": _accepted(route, schemas) | _failures(_errors_of(route), answers, limited=not route.public),
    }
    if route.public:
        operation["security"] = []
    else:
        operation |= {"x-roles": roles} | ({"x-scope": route.scope} if route.scope else {})
    if route.body is not NoBody:
        schema = schemas.body(route.body)
        example = REQUESTS.get((route.method, short_path(public_path(route.path))))
        content = {"schema": schema, "example": sample(schemas, schema) if example is None else example}
        operation["requestBody"] = {"required": not route.body_optional, "content": {"application/json": content}}
    return operation


def _who_may(route: AnyRoute, roles: Iterable[str]) -> str:
    scope = f" Scope of API keys: {route.scope}." if route.scope else ""
    return f"Roles: {', '.join(roles)}.{scope}"


def _by_hand(operation: Node, answers: dict[str, Node]) -> Node:
    published = {key: value for key, value in operation.items() if key != "errors"}
    failures = _failures(_by_status(errors_of(operation)), answers, limited=False)
    return published | {"security": [], "responses": operation["responses"] | failures}


def _path_parameters(route: AnyRoute) -> list[Node]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"}
            if name.endswith("Id")
            else {"type": "string", "minLength": 1, "maxLength": 64},
            "example": ID if name.endswith("Id") else "vip",
        }
        for name in _PATH_NAME.findall(route.path)
    ]


def _query_parameters(route: AnyRoute) -> list[Node]:
    return [
        {"name": name, "in": "query", "required": required}
        | ({"description": schema.pop("description")} if "description" in schema else {})
        | ({"example": schema["examples"][0]} if schema.get("examples") else {})
        | {"schema": schema}
        for name, (schema, required) in query_schemas(route.query).items()
    ]


def _header_parameters(route: AnyRoute) -> list[Node]:
    names = ["IdempotencyKey", "RequestId"] if route.idempotent else ["RequestId"]
    if route.streams:
        names.insert(0, "LastEventId")
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]


def _accepted(route: AnyRoute, schemas: Schemas) -> dict[str, Node]:
    if route.streams:
        return {"200": EVENT_STREAM | {"headers": _headers(["X-Request-Id", *_LIMIT_HEADERS])}}
    paged = issubclass(route.query, Paging)
    data = schemas.answer(route.answer)
    properties: Node = {"success": {"const": True}, "data": {"type": "array", "items": data} if paged else data}
    if paged:
        properties["pagination"] = {"$ref": f"{REFERENCE}Pagination"}
    schema: Node = {"type": "object", "required": list(properties), "properties": properties}
    names = ["X-Request-Id", *(() if route.public else _LIMIT_HEADERS)]
    answer: Node = {
        "description": "The page asked for." if paged else "Done.",
        "headers": _headers([*names, "Idempotency-Replayed"] if route.idempotent else names),
        "content": {"application/json": {"schema": schema, "example": sample(schemas, schema)}}
        | (_CSV if route.csv else {}),
    }
    also = _ALSO_ACCEPTED.get((route.method, route.path))
    return {"200": answer} | ({"202": answer | {"description": also}} if also else {})


def _errors_of(route: AnyRoute) -> dict[int, set[str]]:
    """Return the codes of every status that a route may answer a refusal with."""
    errors: set[type[MktxError]] = {InvalidRequest, Unauthenticated, Unavailable, *route.errors}
    if not route.public:
        errors |= {NotAllowed, LimitExceeded}
    if route.method in _WITH_BODY:
        errors |= {PayloadTooLarge, UnsupportedMedia, InvalidContent}
    if "{" in route.path:
        errors.add(NotFound)
    if route.idempotent:
        errors.add(Conflict)
    statuses = _by_status(errors)
    also = _ALSO_BAD.get((route.method, route.path))
    if also is not None:
        statuses[InvalidRequest.status].add(also.code)
    return statuses


def _by_status(errors: Iterable[type[MktxError]]) -> dict[int, set[str]]:
    statuses: dict[int, set[str]] = {}
    for error in errors:
        statuses.setdefault(error.status, set()).add(error.code)
    return statuses


def _failures(statuses: Mapping[int, set[str]], answers: dict[str, Node], *, limited: bool) -> dict[str, Node]:
    """Return a reference for each status; the answers themselves are shared by all operations."""
    shown: dict[str, Node] = {}
    for status, codes in sorted(statuses.items()):
        parts = [str(status), *sorted(codes), *(["LIMITED"] if limited else [])]
        name = "-".join(parts)
        answers.setdefault(name, _failure(HTTPStatus(status), sorted(codes), limited=limited))
        shown[str(status)] = {"$ref": f"#/components/responses/{name}"}
    return shown


def _failure(status: HTTPStatus, codes: Sequence[str], *, limited: bool) -> Node:
    names = ["X-Request-Id", *(_LIMIT_HEADERS if limited and status != HTTPStatus.UNAUTHORIZED else ())]
    example: Node = {
        "success": False,
        "error": status.phrase,
        "code": codes[0],
        "details": {"field": None, "reason": status.phrase, "errors": []},
        "requestId": ID,
    }
    schema = {"allOf": [{"$ref": f"{REFERENCE}Failure"}, {"properties": {"code": {"enum": list(codes)}}}]}
    return {
        "description": f"{status.phrase}: {', '.join(f'`{code}`' for code in codes)}.",
        "headers": _headers([*names, "Retry-After"] if status in _RETRIED else names),
        "content": {"application/json": {"schema": schema, "example": example}},
    }


def _headers(names: Iterable[str]) -> dict[str, Node]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _camel(name: str) -> str:
    first, *rest = name.strip("_").split("_")
    return first + "".join(part.title() for part in rest)
