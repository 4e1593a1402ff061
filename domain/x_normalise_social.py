"""Follows, blocks, mutes, likes, posts and revocations, once an envelope's reader has found their facts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from domain.events import EventKind, Profile, XEvent
from domain.x_fields import (
    INBOUND,
    OUTBOUND,
    JsonObject,
    Scope,
    content_key,
    milliseconds,
    own_id,
    profile_of,
    sides_of,
    storable,
    told_moment,
    unwrapped,
    written_time,
)


@dataclass(frozen=True, slots=True)
class Post:
    """The facts of one post; `references` names the other posts and people that it refers to, or "" for none."""

    post_id: str
    author: str
    text: object
    at: datetime
    references: dict[str, str] = field(default_factory=dict)
    profile: Profile = field(default_factory=Profile)


def relation(item: JsonObject, kind: EventKind, scope: Scope, delivery: str = "") -> XEvent | None:
    """Make the event of a follow, block or mute, or of its undoing, from its `source` and `target`.

    Where X gives no moment, the key is made of the delivery's id.
    """
    source, target = unwrapped(item.get("source")), unwrapped(item.get("target"))
    source_id, target_id = own_id(source), own_id(target)
    sides = sides_of(source_id, target_id, scope)
    if sides is None:
        return None
    for_user, participant, direction = sides
    moment = told_moment(item.get("created_timestamp"))
    return XEvent(
        content_key(kind, for_user, source_id, target_id, moment or f"delivery {delivery}"),
        kind,
        for_user,
        participant,
        milliseconds(moment, scope.received_at),
        {"direction": direction},
        profile_of(source if direction == INBOUND else target),
    )


def like(
    scope: Scope, *, like_id: str, liker: str, post_id: str, author: str, at: datetime, profile: Profile
) -> XEvent | None:
    """Make the event of a like; `liker` may be unknown (empty) where somebody else than the account liked."""
    if not (like_id and post_id and scope.for_user):
        return None
    direction = OUTBOUND if liker == scope.for_user else INBOUND
    participant = author if direction == OUTBOUND else liker
    data: dict[str, object] = {"direction": direction, "likeId": like_id, "postId": post_id}
    if author:
        data["postAuthorId"] = author
    key = f"like:{scope.for_user}:{like_id}"
    return XEvent(key, EventKind.LIKE, scope.for_user, participant, at, data, profile if direction == INBOUND else {})


def post(facts: Post, kind: EventKind, scope: Scope) -> XEvent | None:
    """Make the event of a post: the account's own, or another's that concerns it."""
    text = facts.text
    if not (facts.post_id and facts.author and scope.for_user and isinstance(text, str) and storable(text)):
        return None
    own = facts.author == scope.for_user
    data: dict[str, object] = {
        "direction": OUTBOUND if own else INBOUND,
        "postId": facts.post_id,
        "authorId": facts.author,
        "text": text,
        **{name: reference for name, reference in facts.references.items() if reference},
    }
    key = f"post:{scope.for_user}:{kind}:{facts.post_id}"
    participant = "" if own else facts.author
    return XEvent(key, kind, scope.for_user, participant, facts.at, data, {} if own else facts.profile)


def post_delete(scope: Scope, *, post_id: str, author: str, at: datetime) -> XEvent | None:
    """Make the event of a post's deletion."""
    if not (post_id and author and scope.for_user):
        return None
    own = author == scope.for_user
    return XEvent(
        f"post:{scope.for_user}:{EventKind.POST_DELETE}:{post_id}",
        EventKind.POST_DELETE,
        scope.for_user,
        "" if own else author,
        at,
        {"direction": OUTBOUND if own else INBOUND, "postId": post_id, "authorId": author},
    )


def revoke(user: str, app: str, date_time: object, received_at: datetime, delivery: str = "") -> XEvent | None:
    """Make the event of a person taking the app's access back."""
    if not user:
        return None
    told = date_time if isinstance(date_time, str) and storable(date_time) else f"delivery {delivery}"
    return XEvent(
        content_key(EventKind.REVOKE, user, app, told),
        EventKind.REVOKE,
        user,
        "",
        written_time(date_time) or received_at,
        {"appId": app},
    )
