"""Direct messages, typing and reading: the same items in both of X's envelopes (x-api, 2.1 and 2.3)."""

from __future__ import annotations

from typing import cast

from domain.events import EventKind, MessageData, XEvent
from domain.x_fields import (
    OUTBOUND,
    JsonObject,
    Scope,
    as_object,
    content_key,
    milliseconds,
    profile_of,
    sides_of,
    storable,
    told_moment,
    unwrapped,
    x_id,
)
from domain.x_normalise_attachment import attachment_of, without_media_link


def message(item: JsonObject, scope: Scope) -> XEvent | None:
    """Read one item of `direct_message_events`."""
    create = as_object(item.get("message_create"))
    content = create.get("message_data")
    if not isinstance(content, dict):
        return None
    message_id = x_id(item.get("id"))
    sides = sides_of(x_id(create.get("sender_id")), x_id(as_object(create.get("target")).get("recipient_id")), scope)
    text = content.get("text")
    if text is None:
        text = ""
    if (
        not message_id
        or sides is None
        or not isinstance(text, str)
        or not storable(text)
        or item.get("type", "message_create") != "message_create"
    ):
        return None
    for_user, participant, direction = sides
    data: MessageData = {"twitterMessageId": message_id, "direction": direction, "text": text}
    if direction == OUTBOUND:
        data["isEcho"] = True
    if content.get("attachment") is not None:
        data["attachments"] = [attachment_of(content["attachment"])]
        data["text"] = without_media_link(text, content)
    if "quick_reply_response" in content:
        chosen = as_object(content["quick_reply_response"]).get("metadata")
        if isinstance(chosen, str) and storable(chosen):
            data["quickReply"] = chosen
    if "source_app_id" in create and (source_app := x_id(create["source_app_id"])):
        data["sourceAppId"] = source_app
    return XEvent(
        f"dm:{for_user}:{message_id}",
        EventKind.MESSAGE,
        for_user,
        participant,
        milliseconds(item.get("created_timestamp"), scope.received_at),
        cast("dict[str, object]", data),
        profile_of(unwrapped(scope.users.get(participant))),
    )


def typing(item: JsonObject, scope: Scope) -> XEvent | None:
    """Read one item of `direct_message_indicate_typing_events`."""
    return _signal(item, scope, EventKind.TYPING, "")


def read(item: JsonObject, scope: Scope) -> XEvent | None:
    """Read one item of `direct_message_mark_read_events`."""
    last_read = x_id(item.get("last_read_event_id"))
    return _signal(item, scope, EventKind.READ, last_read) if last_read else None


def _signal(item: JsonObject, scope: Scope, kind: EventKind, last_read: str) -> XEvent | None:
    sender = x_id(item.get("sender_id"))
    sides = sides_of(sender, x_id(as_object(item.get("target")).get("recipient_id")), scope)
    if sides is None:
        return None
    for_user, participant, direction = sides
    data: dict[str, object] = {"direction": direction}
    if last_read:
        data["lastReadMessageId"] = last_read
    moment = item.get("created_timestamp")
    return XEvent(
        content_key(kind, for_user, sender, participant, last_read, told_moment(moment)),
        kind,
        for_user,
        participant,
        milliseconds(moment, scope.received_at),
        data,
        profile_of(unwrapped(scope.users.get(participant))),
    )
