"""X's Account Activity envelope: `for_user_id` beside one list of events of a family (x-api, 2.1)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from domain.events import EventKind, XEvent
from domain.x_fields import (
    JsonObject,
    Scope,
    UnknownEnvelope,
    as_object,
    content_key,
    milliseconds,
    own_id,
    profile_of,
    storable,
    unknown,
    written_time,
    x_id,
)
from domain.x_normalise_direct import message, read, typing
from domain.x_normalise_social import Post, like, post, post_delete, relation, revoke

Reader = Callable[[JsonObject, Scope], XEvent | None]

_BESIDE_EVENTS = frozenset({"for_user_id", "users", "apps", "user_has_blocked", "is_blocked_by"})
_LONGEST_DESCRIPTION = 1000


def events_of_account(payload: JsonObject, received_at: datetime) -> list[XEvent]:
    """Return the events of one envelope.

    Raises:
        UnknownEnvelope: when nothing in it is an event.
    """
    named = payload.get("for_user_id")
    scope = Scope(x_id(named), as_object(payload.get("users")), received_at)
    if not scope.for_user and named is not None:
        return [unknown("for_user_id", payload, scope)]
    events: list[XEvent] = []
    known = False
    for family, items in payload.items():
        if reader := DIRECT_FAMILIES.get(family) or _OTHER_FAMILIES.get(family):
            known = True
            events.extend(read_items(family, items, reader, scope))
        elif single := _SINGLE_FAMILIES.get(family):
            known = True
            events.append(single(as_object(items), received_at) or unknown(family, items, scope))
        elif family.endswith("_events"):
            known = True
            events.append(unknown(family, items, scope))
    if not known:
        family = next((name for name in payload if name not in _BESIDE_EVENTS), "")
        if not scope.for_user or not family:
            raise UnknownEnvelope("the body is not an envelope of X")
        events.append(unknown(family, payload, scope))
    return events


def read_items(family: str, items: object, reader: Reader, scope: Scope) -> list[XEvent]:
    """Return one event for each item of a family; what the reader can't read is kept as unknown."""
    if not isinstance(items, list):
        return [unknown(family, items, scope)]
    return [reader(as_object(item), scope) or unknown(family, item, scope) for item in items]


def _relations(*kinds: EventKind) -> Reader:
    named = {str(kind): kind for kind in kinds}

    def reader(item: JsonObject, scope: Scope) -> XEvent | None:
        name = item.get("type")
        kind = named.get(name) if isinstance(name, str) else None
        return relation(item, kind, scope) if kind else None

    return reader


def _favorite(item: JsonObject, scope: Scope) -> XEvent | None:
    user, liked = as_object(item.get("user")), as_object(item.get("favorited_status"))
    liker = own_id(user)
    if not liker:
        return None
    return like(
        scope,
        like_id=x_id(item.get("id")),
        liker=liker,
        post_id=own_id(liked),
        author=own_id(as_object(liked.get("user"))),
        at=milliseconds(item.get("timestamp_ms"), written_time(item.get("created_at")) or scope.received_at),
        profile=profile_of(user),
    )


def _tweet(item: JsonObject, scope: Scope) -> XEvent | None:
    user = as_object(item.get("user"))
    long_form = as_object(item.get("extended_tweet"))
    facts = Post(
        post_id=own_id(item),
        author=own_id(user),
        text=long_form.get("full_text") or item.get("text") or "",
        at=milliseconds(item.get("timestamp_ms"), written_time(item.get("created_at")) or scope.received_at),
        references={
            "inReplyToPostId": x_id(item.get("in_reply_to_status_id_str")),
            "inReplyToUserId": x_id(item.get("in_reply_to_user_id_str")),
            "quotedPostId": x_id(item.get("quoted_status_id_str")) or own_id(as_object(item.get("quoted_status"))),
            "repostedPostId": own_id(as_object(item.get("retweeted_status"))),
        },
        profile=profile_of(user),
    )
    return post(facts, _kind_of_tweet(item, facts, scope), scope)


def _kind_of_tweet(item: JsonObject, facts: Post, scope: Scope) -> EventKind:
    """Tell own posts, replies, reposts, quotes and mentions apart, in this order (x-api, 2.1)."""
    if facts.author == scope.for_user:
        return EventKind.POST
    if facts.references["inReplyToPostId"] and facts.references["inReplyToUserId"] == scope.for_user:
        return EventKind.REPLY
    if facts.references["repostedPostId"]:
        return EventKind.REPOST
    if item.get("is_quote_status") is True and isinstance(item.get("quoted_status"), dict):
        return EventKind.QUOTE
    return EventKind.MENTION


def _tweet_delete(item: JsonObject, scope: Scope) -> XEvent | None:
    status = as_object(item.get("status"))
    return post_delete(
        scope,
        post_id=x_id(status.get("id")),
        author=x_id(status.get("user_id")),
        at=milliseconds(item.get("timestamp_ms"), scope.received_at),
    )


def _user_event(event: JsonObject, received_at: datetime) -> XEvent | None:
    revoked = as_object(event.get("revoke"))
    user = x_id(as_object(revoked.get("source")).get("user_id"))
    app = x_id(as_object(revoked.get("target")).get("app_id"))
    return revoke(user, app, revoked.get("date_time"), received_at)


def _replay_status(status: JsonObject, received_at: datetime) -> XEvent | None:
    webhook, job, state = x_id(status.get("webhook_id")), x_id(status.get("job_id")), x_id(status.get("job_state"))
    if not (job and state):
        return None
    told = status.get("job_state_description")
    description = told[:_LONGEST_DESCRIPTION] if isinstance(told, str) and storable(told) else ""
    return XEvent(
        content_key(EventKind.REPLAY_STATUS, "", webhook, job, state),
        EventKind.REPLAY_STATUS,
        "",
        "",
        received_at,
        {"webhookId": webhook, "jobId": job, "state": state, "description": description},
    )


#: Families that the X Activity envelope carries as well.
DIRECT_FAMILIES: dict[str, Reader] = {
    "direct_message_events": message,
    "direct_message_indicate_typing_events": typing,
    "direct_message_mark_read_events": read,
}
_OTHER_FAMILIES: dict[str, Reader] = {
    "follow_events": _relations(EventKind.FOLLOW, EventKind.UNFOLLOW),
    "block_events": _relations(EventKind.BLOCK, EventKind.UNBLOCK),
    "mute_events": _relations(EventKind.MUTE, EventKind.UNMUTE),
    "favorite_events": _favorite,
    "tweet_create_events": _tweet,
    "tweet_delete_events": _tweet_delete,
}
_SINGLE_FAMILIES: dict[str, Callable[[JsonObject, datetime], XEvent | None]] = {
    "user_event": _user_event,
    "replay_job_status": _replay_status,
}
