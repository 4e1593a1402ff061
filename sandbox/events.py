"""What happens on the simulated X, before it is put into one of X's two envelopes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from sandbox.body import JsonObject
from sandbox.messages import DirectMessage


class Kind(StrEnum):
    """Every family of events that X delivers (x-api pages "Account Activity" and "X Activity")."""

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
    DELETE = "delete"
    REVOKE = "revoke"
    REPLAY_STATUS = "replay_status"


#: Kinds in which one user does something to another; their AAA `type` is the kind itself.
RELATIONS = frozenset({Kind.FOLLOW, Kind.UNFOLLOW, Kind.BLOCK, Kind.UNBLOCK, Kind.MUTE, Kind.UNMUTE})
#: Kinds that are a post, by whoever wrote it.
POSTS = frozenset({Kind.POST, Kind.MENTION, Kind.REPLY, Kind.QUOTE, Kind.REPOST})


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the subscription of `account_id` reports.

    `actor_id` did it, to `target_id` where there is a target. `id` is the id of the message, post or like, and where X
    has none a made one, so that deliveries can be told apart here. `data` holds what the kind needs beside:
    `text`, `post_id` (the post that is answered, quoted, liked …), `last_read_event_id`, `job_id`, `webhook_id`.
    """

    kind: Kind
    account_id: str
    actor_id: str
    at_ms: int
    id: str
    target_id: str = ""
    message: DirectMessage | None = None
    data: JsonObject = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What a delivery is found by."""
        return f"{self.kind}:{self.id}"

    @property
    def participant_id(self) -> str:
        """The other person, seen from the account."""
        return self.target_id if self.actor_id == self.account_id else self.actor_id
