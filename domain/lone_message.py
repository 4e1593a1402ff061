"""A webhook call that brings one direct message and nothing else: what most calls are.

It can be stored as it came and read where it is processed: only who it is from and to, and its id, are looked at
before it is durable.
"""

from __future__ import annotations

from typing import NamedTuple

from domain.x_fields import as_object, storable, x_id

#: What may stand beside the message.
_ALONE = frozenset({"for_user_id", "direct_message_events", "users", "apps"})


class LoneMessage(NamedTuple):
    """The body of such a call, with what `normalise` will make of it: the event's key, account and other person."""

    key: str
    for_user_id: str
    participant_id: str
    body: bytes
    #: W3C traceparent of the call; empty where it is not traced.
    trace: str = ""


def lone_message(payload: object, body: bytes) -> LoneMessage | None:
    """Return a parsed body as one message, None where it holds anything else, or what can't be read."""
    if not isinstance(payload, dict) or not payload.keys() <= _ALONE:
        return None
    items = payload.get("direct_message_events")
    if not isinstance(items, list) or len(items) != 1:
        return None
    item = as_object(items[0])
    create = as_object(item.get("message_create"))
    text = as_object(create.get("message_data")).get("text")
    if not isinstance(text, str) or not storable(text) or item.get("type", "message_create") != "message_create":
        return None
    for_user, message_id, sender = x_id(payload.get("for_user_id")), x_id(item.get("id")), x_id(create.get("sender_id"))
    participant = sender
    if sender == for_user:
        participant = x_id(as_object(create.get("target")).get("recipient_id"))
    elif x_id(as_object(create.get("target")).get("recipient_id")) != for_user:
        return None
    if not (for_user and message_id and participant):
        return None
    return LoneMessage(f"dm:{for_user}:{message_id}", for_user, participant, body)
