"""The operations that are no `Route` objects, described by hand: webhooks, health, metrics and the descriptions."""

from __future__ import annotations

from collections.abc import Mapping

from domain.errors import InvalidRequest, MktxError, PayloadTooLarge, Unauthenticated, Unavailable, UnsupportedMedia
from gateway.events.kinds import EVENTS, RESET
from gateway.openapi_schemas import Node
from gateway.paths import API

#: Where each description is: under the base path, and at the root for those who look there.
DOCUMENT_PATHS = (f"{API}/openapi.json", "/openapi.json")
DOCS_PATHS = (f"{API}/docs", "/docs")
COLLECTION_PATHS = (f"{API}/postman-collection.json", "/postman-collection.json")
#: Where the links in messages of campaigns lead.
LINK_PATH = "/l/{code}"

_OBJECT: Node = {"type": "object"}
_DIRECT_MESSAGE: Node = {
    "direct_message_events": [
        {
            "id": "123456789",
            "created_timestamp": "1642000000000",
            "message_create": {
                "sender_id": "987654321",
                "target": {"recipient_id": "123456789"},
                "message_data": {"text": "Hello!", "entities": {}},
            },
        }
    ],
    "users": {"987654321": {"id": "987654321", "screen_name": "customer_john", "name": "John Doe"}},
}
_HEALTH: Node = {
    "type": "object",
    "required": ["status", "parts"],
    "properties": {
        "status": {"enum": ["live", "ready", "not ready"]},
        "parts": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["ready", "detail"],
                "properties": {"ready": {"type": "boolean"}, "detail": {"type": ["string", "null"]}},
            },
        },
    },
}
#: The answer of a route that streams; the schema is that of one event.
EVENT_STREAM: Node = {
    "description": "Server-sent events until either side ends it.",
    "content": {
        "text/event-stream": {
            "schema": {
                "type": "object",
                "required": ["id", "event", "data"],
                "properties": {
                    "id": {"type": "string", "description": "What to send as `Last-Event-ID` to go on from here."},
                    "event": {"enum": [*EVENTS, RESET]},
                    "data": {
                        "type": "string",
                        "contentMediaType": "application/json",
                        "description": "What REST answers for the same thing, in one line.",
                    },
                },
            },
            "example": {
                "id": "gmsDlGAAAAAIKwIpKW4E",
                "event": "contact.erased",
                "data": '{"id":"0198f0a2-7c3e-7b1a-9d55-1f0c6a3b2e11",'
                '"accountId":"0198f0a2-7c3e-7b1a-9d55-1f0c6a3b2e12","completedAt":"2026-01-18T10:00:00Z"}',
            },
        }
    },
}
_CRC_TOKEN: Node = {
    "name": "crc_token",
    "in": "query",
    "required": True,
    "description": "Token from X: letters and digits of base64, base64url and hex, with `-`, `_` and `=`.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9+/=_-]{1,256}$"},
    "example": "MDEyMzQ1Njc4OWFiY2RlZg==",
}
_SIGNATURE: Node = {
    "name": "X-Twitter-Webhooks-Signature",
    "in": "header",
    "required": True,
    "description": "`sha256=` and the base64 HMAC-SHA256 of the raw body under the consumer secret.",
    "schema": {"type": "string"},
}

_CODE: Node = {
    "name": "code",
    "in": "path",
    "required": True,
    "description": "The code of one link in one message.",
    "schema": {"type": "string", "pattern": "^[0-9A-Za-z]{11}$"},
    "example": "4fGh2kLmN0p",
}


def _answer(description: str, content: Mapping[str, Node]) -> Node:
    return {"description": description, "content": dict(content)}


def _json(description: str, schema: Node) -> Node:
    return _answer(description, {"application/json": {"schema": schema}})


def _challenge(operation_id: str) -> Node:
    token: Node = {
        "type": "object",
        "required": ["response_token"],
        "properties": {"response_token": {"type": "string", "examples": ["sha256=base64_encoded_hmac"]}},
    }
    return {
        "operationId": operation_id,
        "tags": ["Webhooks"],
        "summary": "Twitter CRC verification",
        "description": "Answer X's challenge, which shows that the webhook knows the consumer secret.",
        "parameters": [_CRC_TOKEN],
        "responses": {"200": _json("The signed token.", token)},
        "errors": (InvalidRequest,),
    }


def _page(operation_id: str, summary: str, media: str, schema: Node) -> Node:
    return {
        "operationId": operation_id,
        "tags": ["Operations"],
        "summary": summary,
        "description": f"{summary}. Answers carry an `ETag`; `If-None-Match` is answered 304 while it holds.",
        "responses": {"200": _answer(f"{summary}.", {media: {"schema": schema}}), "304": {"description": "Unchanged."}},
        "errors": (),
    }


def _health(operation_id: str, summary: str, answers: Mapping[str, str]) -> Node:
    return {
        "operationId": operation_id,
        "tags": ["Operations"],
        "summary": summary,
        "description": f"{summary}; the answer names each part.",
        "responses": {status: _json(text, _HEALTH) for status, text in answers.items()},
        "errors": (),
    }


#: By path and method. `errors` are made into answers and left out of what is published; none of these operations asks
#: for a token.
OPERATIONS: Mapping[str, Mapping[str, Node]] = {
    f"{API}/webhooks/twitter": {
        "post": {
            "operationId": "receiveWebhook",
            "tags": ["Webhooks"],
            "summary": "Receive Twitter webhook events",
            "description": "Take in events of X. 200 means that they are stored durably; the signature is checked "
            "over the raw body before anything is parsed.",
            "parameters": [_SIGNATURE],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": _OBJECT, "example": _DIRECT_MESSAGE}},
            },
            "responses": {
                "200": _json(
                    "The events are stored.",
                    {
                        "type": "object",
                        "required": ["success", "data"],
                        "properties": {"success": {"const": True}, "data": {"type": "null"}},
                    },
                )
            },
            "errors": (InvalidRequest, Unauthenticated, PayloadTooLarge, UnsupportedMedia, Unavailable),
        },
        "get": _challenge("answerChallenge"),
    },
    f"{API}/webhooks/verify": {"get": _challenge("verifyWebhook")},
    "/health/live": {"get": _health("getLiveness", "Whether the process runs", {"200": "It runs."})},
    "/health/ready": {
        "get": _health("getReadiness", "Whether every part serves", {"200": "Every part serves.", "503": "Not yet."})
    },
    "/metrics": {
        "get": {
            "operationId": "getMetrics",
            "tags": ["Operations"],
            "summary": "Metrics for Prometheus",
            "description": "All metrics of this machine's processes in Prometheus' text format.",
            "responses": {"200": _answer("Metrics.", {"text/plain": {"schema": {"type": "string"}}})},
            "errors": (),
        }
    },
    LINK_PATH: {
        "get": {
            "operationId": "followLink",
            "tags": ["Campaign Management"],
            "summary": "Follow a link in a campaign's message",
            "description": "Lead whoever follows a link to where it was meant to lead. A person counts as having "
            "clicked, once per recipient; a program that only looks at the link does not.",
            "parameters": [_CODE],
            "responses": {
                "302": {
                    "description": "The link leads there.",
                    "headers": {"Location": {"schema": {"type": "string", "format": "uri"}}},
                },
                "404": _answer("There is no such link.", {"text/html": {"schema": {"type": "string"}}}),
            },
            "errors": (Unavailable,),
        }
    },
    DOCUMENT_PATHS[0]: {"get": _page("getDescription", "This description", "application/json", _OBJECT)},
    DOCUMENT_PATHS[1]: {"get": _page("getDescriptionAtRoot", "This description", "application/json", _OBJECT)},
    DOCS_PATHS[0]: {"get": _page("getDocs", "The description for reading", "text/html", {"type": "string"})},
    DOCS_PATHS[1]: {"get": _page("getDocsAtRoot", "The description for reading", "text/html", {"type": "string"})},
    COLLECTION_PATHS[0]: {"get": _page("getCollection", "A Postman collection (v2.1)", "application/json", _OBJECT)},
    COLLECTION_PATHS[1]: {
        "get": _page("getCollectionAtRoot", "A Postman collection (v2.1)", "application/json", _OBJECT)
    },
}


def errors_of(operation: Node) -> tuple[type[MktxError], ...]:
    """Return the errors that an operation described here may answer."""
    errors: tuple[type[MktxError], ...] = operation["errors"]
    return errors
