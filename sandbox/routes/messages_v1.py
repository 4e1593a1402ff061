"""v1.1 direct messages: the only way to quick replies and buttons; typing and read receipts."""

from __future__ import annotations

from aiohttp import web

from sandbox.aaa import message_event
from sandbox.body import JsonObject, answer, as_list, as_object, as_text
from sandbox.clock import DAY_MS
from sandbox.endpoint import Call, Endpoint
from sandbox.events import Kind
from sandbox.messages import LISTED_MS, conversation_id, page
from sandbox.problems import Refusal, v1_refusal
from sandbox.sending import LONGEST_TEXT, accept, attachment, recipient
from sandbox.world import APP

_MOST_OPTIONS = 20
_MOST_BUTTONS = 3
_LONGEST_LABEL = 36
_LONGEST_DESCRIPTION = 72
_LONGEST_METADATA = 1000
_MOST_LISTED = 50
#: Messages within 24 hours of each inbound message that don't count against the v1.1 windows.
_FREE_ANSWERS = 5
_APPS: JsonObject = {APP.id: {"id": APP.id, "name": APP.name, "url": APP.url}}


async def send(call: Call) -> web.Response:
    """POST /1.1/direct_messages/events/new.json."""
    event = as_object((await call.json()).get("event"))
    create = as_object(event.get("message_create"))
    data = as_object(create.get("message_data"))
    target = as_text(as_object(create.get("target")).get("recipient_id"))
    text = data.get("text", "")
    if event.get("type") != "message_create" or not target or not isinstance(text, str):
        raise v1_refusal(214, "event.message_create with target and message_data is needed.")
    if len(text) > LONGEST_TEXT:
        raise v1_refusal(354)
    quick_reply = _quick_reply(data)
    buttons = _buttons(data)
    if not target.isdecimal():
        raise v1_refusal(50)
    _count(call, target)
    user = recipient(call, target)
    media_id = as_text(as_object(as_object(data.get("attachment")).get("media")).get("id"))
    media = attachment(call, media_id) if media_id else None
    if not text and media is None:
        raise v1_refusal(214, "text is needed.")
    message = call.world.compose(
        call.sender.id,
        user.id,
        text,
        via="POST /1.1/direct_messages/events/new.json",
        media=media,
        quick_reply=quick_reply,
        ctas=buttons,
    )
    await accept(call, message)
    return answer({"event": message_event(message), "apps": _APPS})


def _count(call: Call, participant_id: str) -> None:
    """Count a send, unless it is one of the five free answers to the participant's last message.

    Raises:
        LimitReached: it counts, and a window is used up.
    """
    since = call.world.now_ms() - DAY_MS
    history = call.world.messages.of_conversation(conversation_id(call.sender.id, participant_id))
    # the participant's message must be among the last five and the one before our free answers
    latest = (message for message in reversed(history[-_FREE_ANSWERS:]) if message.sender_id == participant_id)
    inbound = next(latest, None)
    free = inbound is not None and inbound.created_ms > since
    call.world.limits.take("dm.v1.send", call.sender.id, counted=not free)


def _quick_reply(data: JsonObject) -> JsonObject | None:
    """Return the quick reply of a message, checked against X's sizes.

    Raises:
        Refusal: 400.
    """
    if "quick_reply" not in data:
        return None
    reply = as_object(data["quick_reply"])
    options = [as_object(option) for option in as_list(reply.get("options"))]
    if reply.get("type") != "options" or not 1 <= len(options) <= _MOST_OPTIONS:
        raise v1_refusal(214, "quick_reply needs type options and 1 to 20 options.")
    described = sum(1 for option in options if option.get("description"))
    for option in options:
        label, metadata = as_text(option.get("label")), as_text(option.get("metadata"))
        if not 1 <= len(label) <= _LONGEST_LABEL or "://" in label:
            raise v1_refusal(214, "A label has 1 to 36 characters and no URL.")
        if len(as_text(option.get("description"))) > _LONGEST_DESCRIPTION or described not in (0, len(options)):
            raise v1_refusal(214, "All options or none have a description of at most 72 characters.")
        if len(metadata) > _LONGEST_METADATA:
            raise v1_refusal(214, "metadata has at most 1000 characters.")
    return {"type": "options", "options": options}


def _buttons(data: JsonObject) -> tuple[JsonObject, ...]:
    """Return the buttons of a message with the short address that X gives each.

    Raises:
        Refusal: 400.
    """
    if "ctas" not in data:
        return ()
    buttons = [as_object(button) for button in as_list(data["ctas"])]
    if not 1 <= len(buttons) <= _MOST_BUTTONS:
        raise v1_refusal(214, "1 to 3 ctas are allowed.")
    for button in buttons:
        label, url = as_text(button.get("label")), as_text(button.get("url"))
        if button.get("type") != "web_url" or not 1 <= len(label) <= _LONGEST_LABEL:
            raise v1_refusal(214, "A cta has type web_url and a label of 1 to 36 characters.")
        if not url.startswith(("http://", "https://")):
            raise v1_refusal(214, "A cta needs an http or https url.")
    return tuple({**button, "tco_url": f"https://t.co/cta{place}"} for place, button in enumerate(buttons))


async def show(call: Call) -> web.Response:
    """GET /1.1/direct_messages/events/show.json with `id`."""
    message = call.world.messages.get(call.request.query.get("id", ""))
    if message is None or call.sender.id not in (message.sender_id, message.recipient_id):
        raise v1_refusal(34)
    body: JsonObject = {"event": message_event(message)}
    if message.source_app_id is not None:
        body["apps"] = _APPS
    return answer(body)


async def listing(call: Call) -> web.Response:
    """GET /1.1/direct_messages/events/list.json?count=…&cursor=…, newest first."""
    query = call.request.query
    count, cursor = query.get("count", "20"), query.get("cursor", "")
    if not count.isdecimal() or not 1 <= int(count) <= _MOST_LISTED or (cursor and not cursor.isdecimal()):
        raise v1_refusal(214)
    found, further = page(
        call.world.messages.of_user(call.sender.id),
        since_ms=call.world.now_ms() - LISTED_MS,
        before=cursor or None,
        size=int(count),
    )
    body: JsonObject = {"events": [message_event(message) for message in found], "apps": _APPS}
    if further is not None:
        body["next_cursor"] = further
    return answer(body)


async def typing(call: Call) -> web.Response:
    """POST /1.1/direct_messages/indicate_typing.json with `recipient_id`."""
    return _signal(call, Kind.TYPING, await _parameters(call))


async def read(call: Call) -> web.Response:
    """POST /1.1/direct_messages/mark_read.json with `last_read_event_id` and `recipient_id`."""
    parameters = await _parameters(call)
    if call.world.messages.get(parameters.get("last_read_event_id", "")) is None:
        raise v1_refusal(34)
    return _signal(call, Kind.READ, parameters)


async def _parameters(call: Call) -> dict[str, str]:
    form = await call.request.post()
    given = {**call.request.query, **{name: value for name, value in form.items() if isinstance(value, str)}}
    if not given.get("recipient_id"):
        raise Refusal(400, {"errors": [{"code": 38, "message": "recipient_id parameter is missing."}]})
    return given


def _signal(call: Call, kind: Kind, parameters: dict[str, str]) -> web.Response:
    """Tell the other side, where it is a shop too; customers have no subscription."""
    target = parameters["recipient_id"]
    other = call.world.people.get(target)
    if other is not None and other.is_shop:
        data: JsonObject = {"last_read_event_id": parameters.get("last_read_event_id", "")}
        call.world.happen(kind, target, call.sender.id, data=data)
    return web.Response(status=204)


ENDPOINTS = (
    Endpoint("POST", "/1.1/direct_messages/events/new.json", "user", "dm.v1.send", send),
    Endpoint("GET", "/1.1/direct_messages/events/show.json", "user", "dm.v1.read", show),
    Endpoint("GET", "/1.1/direct_messages/events/list.json", "user", "dm.v1.read", listing),
    Endpoint("POST", "/1.1/direct_messages/indicate_typing.json", "user", "dm.v1.signal", typing),
    Endpoint("POST", "/1.1/direct_messages/mark_read.json", "user", "dm.v1.signal", read),
)
