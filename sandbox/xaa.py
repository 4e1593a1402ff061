"""Events in the X Activity envelope: `data` with an event type, the subscription's filter and a payload.

Source: X's "event payloads" page of X Activity. Messages keep the Account Activity array inside the payload, with
users wrapped in `data`. X publishes no sample of typing and read events; they carry the Account Activity arrays too.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sandbox.aaa import App, message_event, replay_status, signal
from sandbox.body import JsonObject, as_text
from sandbox.clock import rfc3339
from sandbox.events import POSTS, RELATIONS, Event, Kind
from sandbox.people import People

#: Event types that can be subscribed to here.
EVENT_TYPES = frozenset(
    {
        "dm.received",
        "dm.sent",
        "dm.indicate_typing",
        "dm.read",
        "post.create",
        "post.mention.create",
        "post.reply.create",
        "post.quote.create",
        "post.repost.create",
        "post.delete",
        "like.create",
        "follow.follow",
        "follow.unfollow",
        "block.block",
        "block.unblock",
        "mute.mute",
        "mute.unmute",
        "oauth.revoke",
    }
)

_POST_TYPES = {
    Kind.POST: "post.create",
    Kind.MENTION: "post.mention.create",
    Kind.REPLY: "post.reply.create",
    Kind.QUOTE: "post.quote.create",
    Kind.REPOST: "post.repost.create",
}
_REFERENCES = {Kind.REPLY: "replied_to", Kind.QUOTE: "quoted", Kind.REPOST: "retweeted"}


def event_type(event: Event) -> str:
    """Return X Activity's name of the event; empty where it has none."""
    if event.message is not None:
        return "dm.sent" if event.actor_id == event.account_id else "dm.received"
    if event.kind in RELATIONS:
        return f"{event.kind.removeprefix('un')}.{event.kind}"
    others = {
        Kind.TYPING: "dm.indicate_typing",
        Kind.READ: "dm.read",
        Kind.LIKE: "like.create",
        Kind.DELETE: "post.delete",
        Kind.REVOKE: "oauth.revoke",
    }
    return _POST_TYPES.get(event.kind) or others.get(event.kind, "")


def envelope(event: Event, people: People, app: App, *, uuid: str, filtered: JsonObject, tag: str) -> JsonObject:
    """Return the body of an X Activity delivery for a subscription with this filter and tag."""
    if event.kind is Kind.REPLAY_STATUS:
        return {"replay_job_status": replay_status(event)}
    data: JsonObject = {"event_uuid": uuid, "filter": filtered, "event_type": event_type(event)}
    if tag:
        data["tag"] = tag
    data["payload"] = _payload(event, people, app)
    includes = _includes(event, people)
    if includes:
        data["includes"] = includes
    return {"data": data}


def _payload(event: Event, people: People, app: App) -> JsonObject:
    if event.message is not None:
        return {"direct_message_events": [message_event(event.message)], "users": _wrapped_users(event, people)}
    if event.kind in (Kind.TYPING, Kind.READ):
        family = "indicate_typing" if event.kind is Kind.TYPING else "mark_read"
        return {f"direct_message_{family}_events": [signal(event)], "users": _wrapped_users(event, people)}
    if event.kind in RELATIONS:
        return {"source": _wrapped(event.actor_id, people), "target": _wrapped(event.target_id, people)}
    if event.kind is Kind.REVOKE:
        moment = datetime.fromtimestamp(event.at_ms // 1000, UTC).isoformat()
        return {"date_time": moment, "user_id": event.account_id, "app_id": app.id}
    return _about_post(event, people)


def _about_post(event: Event, people: People) -> JsonObject:
    if event.kind is Kind.LIKE:
        return {
            "id": event.id,
            "created_at": rfc3339(event.at_ms),
            "timestamp_ms": str(event.at_ms),
            "liked_tweet_id": as_text(event.data.get("post_id"), "400"),
            "liked_tweet_author_id": event.target_id,
        }
    if event.kind is Kind.DELETE:
        return {"id": as_text(event.data.get("post_id"), event.id), "author_id": event.actor_id}
    return _post(event, people)


def _post(event: Event, people: People) -> JsonObject:
    account = people.get(event.account_id)
    text = as_text(event.data.get("text"), "hello")
    if event.kind is Kind.MENTION and account is not None:
        text = f"@{account.username} {text}"
    body: JsonObject = {"id": event.id, "text": text, "author_id": event.actor_id, "created_at": rfc3339(event.at_ms)}
    referenced = as_text(event.data.get("post_id"), "400")
    if event.kind in _REFERENCES:
        body["referenced_tweets"] = [{"type": _REFERENCES[event.kind], "id": referenced}]
    if event.kind is Kind.REPLY:
        body["in_reply_to_tweet_id"] = referenced
        body["in_reply_to_user_id"] = event.target_id or event.account_id
    return body


def _includes(event: Event, people: People) -> JsonObject:
    if event.kind is not Kind.LIKE and event.kind not in POSTS:
        return {}
    present = (people.get(user_id) for user_id in (event.actor_id, event.target_id))
    return {"users": [user.activity() for user in present if user is not None]}


def _wrapped(user_id: str, people: People) -> JsonObject:
    user = people.get(user_id)
    return {"data": user.activity() if user else {"id": user_id}}


def _wrapped_users(event: Event, people: People) -> JsonObject:
    return {user_id: _wrapped(user_id, people) for user_id in (event.actor_id, event.target_id)}
