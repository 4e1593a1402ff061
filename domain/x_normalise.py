"""From the body of a webhook call of X to events in our own words, whichever of X's two envelopes it uses.

`XEvent.data` by kind; `direction` is `inbound` when the other person did it, `outbound` when the account did:

    MESSAGE                         domain.events.MessageData
    TYPING                          direction
    READ                            direction, lastReadMessageId
    FOLLOW, BLOCK, MUTE and undone  direction
    LIKE                            direction, likeId, postId, postAuthorId?
    POST, MENTION, REPLY, QUOTE,    direction, postId, authorId, text, inReplyToPostId?, inReplyToUserId?,
    REPOST                          quotedPostId?, repostedPostId?
    POST_DELETE                     direction, postId, authorId
    REVOKE                          appId
    REPLAY_STATUS                   webhookId, jobId, state, description
    UNKNOWN                         family, raw (JSON text)

Keys: `dm:{account}:{id}`, `post:{account}:{kind}:{id}`, `like:{account}:{id}`, and for kinds without an id
`{kind}:{account}:{digest of the content}`. A message has the same key and data in both envelopes.
"""

from __future__ import annotations

from datetime import datetime

from domain.events import XEvent
from domain.x_fields import UnknownEnvelope
from domain.x_normalise_aaa import events_of_account
from domain.x_normalise_xaa import events_of_activity

__all__ = ["UnknownEnvelope", "normalise"]


def normalise(payload: object, received_at: datetime) -> list[XEvent]:
    """Return the events of one parsed body, in its order.

    What can't be read inside a known envelope is kept as an event of the kind UNKNOWN. Where the envelope does not
    name the account, a message belongs to its recipient. `received_at` (UTC, whole milliseconds) stands in for a time
    that is missing or out of range.

    Raises:
        UnknownEnvelope: when the JSON is not that of an envelope.
    """
    if not isinstance(payload, dict):
        raise UnknownEnvelope("the body is not a JSON object")
    data = payload.get("data")
    if isinstance(data, dict | list) and "for_user_id" not in payload:
        return events_of_activity(data, received_at)
    return events_of_account(payload, received_at)
