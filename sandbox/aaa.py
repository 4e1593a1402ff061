"""Events in the Account Activity envelope: `for_user_id` and one `<family>_events` array.

Source: X's Account Activity introduction ("payload examples"); users come in three shapes, as documented there:
condensed in the `users` map of messages, with text ids in follow, block and mute, as v1.1 users in posts and likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.body import JsonObject, as_text
from sandbox.clock import classic
from sandbox.events import RELATIONS, Event, Kind
from sandbox.messages import DirectMessage
from sandbox.people import People, User


@dataclass(frozen=True, slots=True)
class App:
    """The X app of these credentials, as events name it."""

    id: str
    name: str
    url: str


def envelope(event: Event, people: People, app: App) -> JsonObject:
    """Return the body of an Account Activity delivery."""
    if event.kind is Kind.REPLAY_STATUS:
        return {"replay_job_status": replay_status(event)}
    if event.kind is Kind.REVOKE:
        revoke = {
            "date_time": datetime.fromtimestamp(event.at_ms // 1000, UTC).isoformat(),
            "target": {"app_id": app.id},
            "source": {"user_id": event.account_id},
        }
        return {"user_event": {"revoke": revoke}}
    return {"for_user_id": event.account_id, **_families(event, people, app)}


def _families(event: Event, people: People, app: App) -> JsonObject:
    """Return the one array of the event's family, with the maps that X puts beside it."""
    if event.message is not None:
        body: JsonObject = {"direct_message_events": [message_event(event.message)]}
        if event.message.source_app_id is not None:
            body["apps"] = {app.id: {"id": app.id, "name": app.name, "url": app.url}}
        return {**body, "users": _users(event, people)}
    if event.kind in (Kind.TYPING, Kind.READ):
        family = "indicate_typing" if event.kind is Kind.TYPING else "mark_read"
        return {f"direct_message_{family}_events": [signal(event)], "users": _users(event, people)}
    if event.kind in RELATIONS:
        return {f"{event.kind.removeprefix('un')}_events": [_relation(event, people)]}
    if event.kind is Kind.LIKE:
        return {"favorite_events": [_like(event, people)]}
    if event.kind is Kind.DELETE:
        status = {"id": as_text(event.data.get("post_id"), event.id), "user_id": event.actor_id}
        return {"tweet_delete_events": [{"status": status, "timestamp_ms": str(event.at_ms)}]}
    blocked: JsonObject = {"user_has_blocked": "false"} if event.kind is Kind.MENTION else {}
    return {**blocked, "tweet_create_events": [post(event, people)]}


def message_event(message: DirectMessage) -> JsonObject:
    """Return one item of `direct_message_events`; v1.1 answers sends with the same object."""
    data: JsonObject = {
        "text": message.shown,
        "entities": {
            "hashtags": [],
            "symbols": [],
            "user_mentions": [],
            "urls": [
                {
                    "url": link.short,
                    "expanded_url": link.expanded,
                    "display_url": link.display,
                    "indices": [link.start, link.end],
                }
                for link in message.links
            ],
        },
    }
    if message.media is not None:
        data["attachment"] = _attachment(message)
    if message.quick_reply is not None:
        data["quick_reply"] = message.quick_reply
    if message.quick_reply_response is not None:
        data["quick_reply_response"] = {"type": "options", "metadata": message.quick_reply_response}
    if message.ctas:
        data["ctas"] = list(message.ctas)
    create: JsonObject = {
        "target": {"recipient_id": message.recipient_id},
        "sender_id": message.sender_id,
        "message_data": data,
    }
    if message.source_app_id is not None:
        create["source_app_id"] = message.source_app_id
    return {
        "type": "message_create",
        "id": message.id,
        "created_timestamp": str(message.created_ms),
        "message_create": create,
    }


def _attachment(message: DirectMessage) -> JsonObject:
    media = message.media or {}
    link = message.links[-1]
    identifier = as_text(media.get("id"))
    address = f"https://ton.twitter.com/1.1/ton/data/dm/{message.id}/{identifier}/media.jpg"
    return {
        "type": "media",
        "media": {
            "id": int(identifier),
            "id_str": identifier,
            "indices": [link.start, link.end],
            "media_url": address,
            "media_url_https": address,
            "url": link.short,
            "display_url": link.display,
            "expanded_url": link.expanded,
            "type": as_text(media.get("type"), "photo"),
            "sizes": {},
        },
    }


def signal(event: Event) -> JsonObject:
    """Return one item of the typing or read-receipt families; neither has an id."""
    item: JsonObject = {
        "created_timestamp": str(event.at_ms),
        "sender_id": event.actor_id,
        "target": {"recipient_id": event.target_id},
    }
    if event.kind is Kind.READ:
        item["last_read_event_id"] = as_text(event.data.get("last_read_event_id"))
    return item


def replay_status(event: Event) -> JsonObject:
    """Return the content of `replay_job_status`, which comes on the webhook when a replay is done."""
    return {
        "webhook_id": as_text(event.data.get("webhook_id")),
        "job_state": "Complete",
        "job_state_description": "Job completed successfully",
        "job_id": as_text(event.data.get("job_id")),
    }


def _users(event: Event, people: People) -> JsonObject:
    present = (people.get(user_id) for user_id in (event.actor_id, event.target_id))
    return {user.id: user.condensed() for user in present if user is not None}


def _relation(event: Event, people: People) -> JsonObject:
    source, target = people.get(event.actor_id), people.get(event.target_id)
    return {
        "type": str(event.kind),
        "created_timestamp": str(event.at_ms),
        "source": source.condensed() if source else {"id": event.actor_id},
        "target": target.condensed() if target else {"id": event.target_id},
    }


def _author(people: People, user_id: str) -> JsonObject:
    user = people.get(user_id)
    return user.classic() if user else {"id": int(user_id), "id_str": user_id}


def _like(event: Event, people: People) -> JsonObject:
    liked = as_text(event.data.get("post_id"), "400")
    return {
        "id": event.id,
        "created_at": classic(event.at_ms),
        "timestamp_ms": event.at_ms,
        "favorited_status": {"id": int(liked), "id_str": liked, "user": _author(people, event.target_id)},
        "user": _author(people, event.actor_id),
    }


def post(event: Event, people: People) -> JsonObject:
    """Return a v1.1 post; what it answers, quotes or repeats is `data["post_id"]`, written by the event's target."""
    account = people.get(event.account_id)
    text = as_text(event.data.get("text"), "hello")
    referenced = as_text(event.data.get("post_id"), "400")
    body: JsonObject = {
        "created_at": classic(event.at_ms),
        "id": int(event.id),
        "id_str": event.id,
        "text": text,
        "truncated": False,
        "in_reply_to_status_id_str": None,
        "in_reply_to_user_id_str": None,
        "is_quote_status": event.kind is Kind.QUOTE,
        "user": _author(people, event.actor_id),
        "entities": {"hashtags": [], "urls": [], "symbols": [], "user_mentions": []},
    }
    original = {"id_str": referenced, "user": _author(people, event.target_id or event.account_id)}
    if event.kind is Kind.MENTION and account is not None:
        body["text"] = f"@{account.username} {text}"
        body["entities"] = {"hashtags": [], "urls": [], "symbols": [], "user_mentions": [_mention(account)]}
    elif event.kind is Kind.REPLY:
        body["in_reply_to_status_id_str"] = referenced
        body["in_reply_to_user_id_str"] = event.target_id or event.account_id
    elif event.kind is Kind.QUOTE:
        body["quoted_status_id_str"] = referenced
        body["quoted_status"] = original
    elif event.kind is Kind.REPOST:
        body["retweeted_status"] = original
    return body


def _mention(user: User) -> JsonObject:
    return {
        "id": int(user.id),
        "id_str": user.id,
        "screen_name": user.username,
        "name": user.name,
        "indices": [0, len(user.username) + 1],
    }
