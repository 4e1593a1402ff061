"""X's X Activity envelope: `data`, one event or a list, each with `event_type` and `payload` (x-api, 2.3)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from domain.events import EventKind, Profile, XEvent
from domain.x_fields import (
    JsonObject,
    Scope,
    UnknownEnvelope,
    as_object,
    milliseconds,
    own_id,
    profile_of,
    unknown,
    unwrapped,
    written_time,
    x_id,
)
from domain.x_normalise_aaa import DIRECT_FAMILIES, read_items
from domain.x_normalise_social import Post, like, post, post_delete, relation, revoke

_DIRECT_TYPES = {
    "dm.received": "direct_message_events",
    "dm.sent": "direct_message_events",
    "dm.indicate_typing": "direct_message_indicate_typing_events",
    "dm.read": "direct_message_mark_read_events",
}
_RELATIONS = {
    "follow.follow": EventKind.FOLLOW,
    "follow.unfollow": EventKind.UNFOLLOW,
    "block.block": EventKind.BLOCK,
    "block.unblock": EventKind.UNBLOCK,
    "mute.mute": EventKind.MUTE,
    "mute.unmute": EventKind.UNMUTE,
}
_POSTS = {
    "post.create": EventKind.POST,
    "post.mention.create": EventKind.MENTION,
    "post.reply.create": EventKind.REPLY,
    "post.quote.create": EventKind.QUOTE,
    "post.repost.create": EventKind.REPOST,
}
_REFERENCES = {"replied_to": "inReplyToPostId", "quoted": "quotedPostId", "retweeted": "repostedPostId"}


def events_of_activity(data: object, received_at: datetime) -> list[XEvent]:
    """Return the events of one envelope's `data`.

    Raises:
        UnknownEnvelope: when nothing in it is an event.
    """
    entries = data if isinstance(data, list) else [data]
    if entries and not any(isinstance(as_object(entry).get("event_type"), str) for entry in entries):
        raise UnknownEnvelope("the body is not an envelope of X")
    return [event for entry in entries for event in _events_of(entry, received_at)]


def _events_of(entry: object, received_at: datetime) -> list[XEvent]:
    envelope = as_object(entry)
    event_type = envelope.get("event_type")
    payload = as_object(envelope.get("payload"))
    scope = Scope(
        for_user=x_id(as_object(envelope.get("filter")).get("user_id")),
        users=as_object(payload.get("users")),
        received_at=received_at,
        sends=event_type == "dm.sent",
    )
    if not isinstance(event_type, str):
        return [unknown("", entry, scope)]
    if family := _DIRECT_TYPES.get(event_type):
        items = payload.get(family, [payload])
        return read_items(event_type, items, DIRECT_FAMILIES[family], scope)
    return [_single(event_type, envelope, payload, scope) or unknown(event_type, entry, scope)]


def _single(event_type: str, envelope: JsonObject, payload: JsonObject, scope: Scope) -> XEvent | None:
    if kind := _RELATIONS.get(event_type):
        return relation(payload, kind, scope, x_id(envelope.get("event_uuid")))
    if kind := _POSTS.get(event_type):
        return _post(kind, envelope, payload, scope)
    reader = _OTHERS.get(event_type)
    return reader(envelope, payload, scope) if reader else None


def _post(kind: EventKind, envelope: JsonObject, payload: JsonObject, scope: Scope) -> XEvent | None:
    references = {"inReplyToPostId": x_id(payload.get("in_reply_to_tweet_id"))}
    referenced = payload.get("referenced_tweets") or payload.get("referenced_posts")
    for value in referenced if isinstance(referenced, list) else ():
        reference = as_object(value)
        relation_name = reference.get("type")
        if isinstance(relation_name, str) and relation_name in _REFERENCES:
            references[_REFERENCES[relation_name]] = x_id(reference.get("id"))
    references["inReplyToUserId"] = x_id(payload.get("in_reply_to_user_id"))
    author = x_id(payload.get("author_id"))
    facts = Post(
        post_id=x_id(payload.get("id")),
        author=author,
        text=as_object(payload.get("note_tweet")).get("text") or payload.get("text") or "",
        at=written_time(payload.get("created_at")) or scope.received_at,
        references=references,
        profile=_included(envelope, author),
    )
    return post(facts, kind, scope)


def _post_delete(_: JsonObject, payload: JsonObject, scope: Scope) -> XEvent | None:
    return post_delete(
        scope, post_id=x_id(payload.get("id")), author=x_id(payload.get("author_id")), at=scope.received_at
    )


def _like(envelope: JsonObject, payload: JsonObject, scope: Scope) -> XEvent | None:
    """Read a like; X's samples name the liked post and its author, and the liker only by the filter's direction."""
    author = x_id(payload.get("liked_tweet_author_id")) or x_id(payload.get("tweet_author_id"))
    outbound = as_object(envelope.get("filter")).get("direction") == "outbound"
    liker = scope.for_user if outbound else x_id(payload.get("user_id")) or _only_other(envelope, scope.for_user)
    return like(
        scope,
        like_id=x_id(payload.get("id")),
        liker=liker,
        post_id=x_id(payload.get("liked_tweet_id")),
        author=author,
        at=milliseconds(payload.get("timestamp_ms"), written_time(payload.get("created_at")) or scope.received_at),
        profile=_included(envelope, liker),
    )


def _revoke(envelope: JsonObject, payload: JsonObject, scope: Scope) -> XEvent | None:
    user = x_id(payload.get("user_id")) or scope.for_user
    delivery = x_id(envelope.get("event_uuid"))
    return revoke(user, x_id(payload.get("app_id")), payload.get("date_time"), scope.received_at, delivery)


def _included_users(envelope: JsonObject) -> list[JsonObject]:
    users = as_object(envelope.get("includes")).get("users")
    return [unwrapped(user) for user in users] if isinstance(users, list) else []


def _included(envelope: JsonObject, user_id: str) -> Profile:
    for user in _included_users(envelope):
        if user_id and own_id(user) == user_id:
            return profile_of(user)
    return {}


def _only_other(envelope: JsonObject, for_user: str) -> str:
    """Return the id of the one included person who is not the account, or "" where there are none or several."""
    others = {own_id(user) for user in _included_users(envelope)} - {for_user, ""}
    return others.pop() if len(others) == 1 else ""


_OTHERS: dict[str, Callable[[JsonObject, JsonObject, Scope], XEvent | None]] = {
    "post.delete": _post_delete,
    "like.create": _like,
    "oauth.revoke": _revoke,
}
