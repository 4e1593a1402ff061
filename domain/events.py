"""An event of X in our own words, whichever of X's two envelopes it came in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypedDict


class EventKind(StrEnum):
    """What happened on X."""

    MESSAGE = "message"
    TYPING = "typing"
    READ = "read"
    FOLLOW = "follow"
    UNFOLLOW = "unfollow"
    BLOCK = "block"
    UNBLOCK = "unblock"
    MUTE = "mute"
    UNMUTE = "unmute"
    LIKE = "like"
    POST = "post"
    MENTION = "mention"
    REPLY = "reply"
    QUOTE = "quote"
    REPOST = "repost"
    POST_DELETE = "post_delete"
    REVOKE = "revoke"
    REPLAY_STATUS = "replay_status"
    UNKNOWN = "unknown"


class Profile(TypedDict, total=False):
    """What an event says of the other person; only the fields that it has."""

    username: str
    displayName: str
    profileImageUrl: str


class Attachment(TypedDict, total=False):
    """A message's attachment, as X described it."""

    type: str
    url: str
    mediaId: str
    mediaUrl: str
    latitude: float
    longitude: float


class MessageData(TypedDict, total=False):
    """`XEvent.data` of a message; `twitterMessageId`, `direction` and `text` are always there."""

    twitterMessageId: str
    direction: str
    text: str
    attachments: list[Attachment]
    quickReply: str
    sourceAppId: str
    isEcho: bool


# Not frozen, which would take five times as long to make: tens of thousands are made a second.
@dataclass(slots=True)
class XEvent:
    """One event, ready for the inbox.

    `key` is unique for ever: built from X's own id where there is one, else from the event's content. `for_user_id`
    is the X id of the connected account (empty where X does not say), `participant_id` the other person's (empty where
    there is none); together they decide the partition, so that all of a conversation stays in order.
    """

    key: str
    kind: EventKind
    for_user_id: str
    participant_id: str
    at: datetime
    data: dict[str, object]
    profile: Profile = field(default_factory=Profile)
    #: W3C traceparent of the call that brought it; empty where that is not traced.
    trace: str = ""
