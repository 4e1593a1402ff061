"""v2 direct messages: sending and looking up."""

from __future__ import annotations

import binascii

from aiohttp import web

from sandbox.body import JsonObject, answer, as_list, as_object, as_text
from sandbox.endpoint import Call, Endpoint
from sandbox.messages import LISTED_MS, DirectMessage, conversation_id, page
from sandbox.people import User
from sandbox.problems import Refusal, invalid_request, missing_resource, problem
from sandbox.sending import LONGEST_TEXT, accept, attachment, described, recipient

_DEFAULT_FIELDS = {"id", "text", "event_type"}
_MOST = 100


async def send_to_participant(call: Call) -> web.Response:
    """POST /2/dm_conversations/with/:participant_id/messages."""
    return await _send(call, call.part("participant_id"), "POST /2/dm_conversations/with/:id/messages")


async def send_to_conversation(call: Call) -> web.Response:
    """POST /2/dm_conversations/:conversation_id/messages."""
    other = _other_side(call)
    return await _send(call, other, "POST /2/dm_conversations/:id/messages")


async def _send(call: Call, participant_id: str, via: str) -> web.Response:
    text, media_id = _wanted(await call.json())
    user = recipient(call, participant_id)
    media = attachment(call, media_id) if media_id else None
    message = call.world.compose(call.sender.id, user.id, text, via=via, media=media)
    await accept(call, message)
    return answer({"data": described(message)}, 201)


def _wanted(body: JsonObject) -> tuple[str, str]:
    """Return text and media id of a message.

    Raises:
        Refusal: 400 for another key, neither text nor attachment, more than one attachment, or a wrong type.
    """
    for name in body:
        if name not in ("text", "attachments"):
            detail = "is not defined in the schema and the schema does not allow additional properties"
            raise invalid_request(f"$.{name}: {detail}", name)
    text, attachments = body.get("text", ""), body.get("attachments", [])
    if not isinstance(text, str) or ("text" in body and not text):
        raise invalid_request("$.text: must be at least 1 characters long", "text")
    if len(text) > LONGEST_TEXT:
        raise invalid_request(f"$.text: must be at most {LONGEST_TEXT} characters long", "text")
    media_ids = [as_text(as_object(item).get("media_id")) for item in as_list(attachments)]
    if not isinstance(attachments, list) or len(media_ids) > 1 or not all(media_ids):
        raise invalid_request("$.attachments: must be one object with a media_id", "attachments")
    if not text and not media_ids:
        raise invalid_request("$.text: is missing but it is required", "text")
    return text, media_ids[0] if media_ids else ""


def _other_side(call: Call) -> str:
    sides = call.part("conversation_id").split("-")
    if len(sides) != 2 or call.sender.id not in sides or conversation_id(*sides) != "-".join(sides):  # noqa: PLR2004
        raise Refusal(403, problem(403, "Forbidden", "You are not a participant of this conversation."))
    return sides[0] if sides[1] == call.sender.id else sides[1]


async def every_event(call: Call) -> web.Response:
    """GET /2/dm_events."""
    return _listing(call, call.world.messages.of_user(call.sender.id))


async def events_with(call: Call) -> web.Response:
    """GET /2/dm_conversations/with/:participant_id/dm_events."""
    conversation = conversation_id(call.sender.id, call.part("participant_id"))
    return _listing(call, call.world.messages.of_conversation(conversation))


async def events_of(call: Call) -> web.Response:
    """GET /2/dm_conversations/:conversation_id/dm_events."""
    _other_side(call)
    return _listing(call, call.world.messages.of_conversation(call.part("conversation_id")))


async def one_event(call: Call) -> web.Response:
    """GET /2/dm_events/:id."""
    message = call.world.messages.get(call.part("event_id"))
    if message is None or call.sender.id not in (message.sender_id, message.recipient_id):
        return answer({"errors": [missing_resource("dm_event", call.part("event_id"))]})
    body: JsonObject = {"data": message.v2(_fields(call))}
    includes = _includes(call, [message])
    if includes:
        body["includes"] = includes
    return answer(body)


def _listing(call: Call, messages: list[DirectMessage]) -> web.Response:
    query = call.request.query
    size = query.get("max_results", str(_MOST))
    if not size.isdecimal() or not 1 <= int(size) <= _MOST:
        raise invalid_request("The `max_results` query parameter value is not between 1 and 100", "max_results")
    types = [name for name in query.get("event_types", "").split(",") if name]
    if types and "MessageCreate" not in types:
        messages = []
    since = call.world.now_ms() - LISTED_MS
    found, further = page(messages, since_ms=since, before=_position(call), size=int(size))
    meta: JsonObject = {"result_count": len(found)}
    body: JsonObject = {"meta": meta}
    if found:
        wanted = _fields(call)
        body["data"] = [message.v2(wanted) for message in found]
    if further is not None:
        meta["next_token"] = binascii.hexlify(f"before:{further}".encode()).decode()
    includes = _includes(call, found)
    if includes:
        body["includes"] = includes
    return answer(body)


def _position(call: Call) -> str | None:
    """Return the id that the page lies before.

    Raises:
        Refusal: 400, the token is none that a listing gave out.
    """
    token = call.request.query.get("pagination_token")
    if token is None:
        return None
    try:
        kind, _, position = binascii.unhexlify(token).decode().partition(":")
    except ValueError:
        kind, position = "", ""
    if kind != "before" or not position.isdecimal():
        raise invalid_request(
            f"The `pagination_token` query parameter value [{token}] is not valid", "pagination_token"
        )
    return position


def _fields(call: Call) -> set[str]:
    asked = call.request.query.get("dm_event.fields", "")
    return _DEFAULT_FIELDS | {name for name in asked.split(",") if name}


def _includes(call: Call, messages: list[DirectMessage]) -> JsonObject:
    """Return the users and media that the `expansions` of the request ask for."""
    expansions = call.request.query.get("expansions", "").split(",")
    includes: JsonObject = {}
    if "sender_id" in expansions or "participant_ids" in expansions:
        users: dict[str, User] = {}
        for message in messages:
            for user_id in (message.sender_id, message.recipient_id):
                user = call.world.people.get(user_id)
                if user is not None and (user_id == message.sender_id or "participant_ids" in expansions):
                    users[user_id] = user
        if users:
            includes["users"] = [user.activity() for user in users.values()]
    media = [message.media for message in messages if message.media is not None]
    if "attachments.media_keys" in expansions and media:
        includes["media"] = [{"media_key": f"3_{item['id']}", "type": item["type"]} for item in media]
    return includes


ENDPOINTS = (
    Endpoint(
        "POST",
        "/2/dm_conversations/with/{participant_id:[0-9]+}/messages",
        "user",
        "dm.send",
        send_to_participant,
    ),
    Endpoint("POST", "/2/dm_conversations/{conversation_id:[0-9-]+}/messages", "user", "dm.send", send_to_conversation),
    Endpoint("GET", "/2/dm_events", "user", "dm.read", every_event),
    Endpoint("GET", "/2/dm_events/{event_id:[0-9]+}", "user", "dm.read", one_event),
    Endpoint("GET", "/2/dm_conversations/with/{participant_id:[0-9]+}/dm_events", "user", "dm.read", events_with),
    Endpoint("GET", "/2/dm_conversations/{conversation_id:[0-9-]+}/dm_events", "user", "dm.read", events_of),
)
