"""Who is subscribed to what: Account Activity (by account and webhook) and X Activity (by event type)."""

from __future__ import annotations

from dataclasses import dataclass, field

from sandbox.body import JsonObject, as_number, as_object, as_text
from sandbox.clock import rfc3339


@dataclass(slots=True)
class ActivitySubscription:
    """One X Activity subscription; without `webhook_id` its events go to the stream, which is not simulated."""

    id: str
    event_type: str
    filter: JsonObject
    tag: str
    webhook_id: str
    created_ms: int
    updated_ms: int

    @property
    def user_id(self) -> str:
        """The user whose events are wanted; empty for filters without one."""
        return as_text(self.filter.get("user_id"))

    def v2(self) -> JsonObject:
        """Return the subscription as v2 shows it."""
        body: JsonObject = {
            "subscription_id": self.id,
            "event_type": self.event_type,
            "filter": self.filter,
            "created_at": rfc3339(self.created_ms),
            "updated_at": rfc3339(self.updated_ms),
        }
        if self.tag:
            body["tag"] = self.tag
        if self.webhook_id:
            body["webhook_id"] = self.webhook_id
        return body

    def raw(self) -> JsonObject:
        """Return everything, for the journal."""
        return {
            "id": self.id,
            "event_type": self.event_type,
            "filter": self.filter,
            "tag": self.tag,
            "webhook_id": self.webhook_id,
            "created_ms": self.created_ms,
            "updated_ms": self.updated_ms,
        }


def activity_from_raw(raw: JsonObject) -> ActivitySubscription:
    """Read a subscription back from what `ActivitySubscription.raw` wrote."""
    return ActivitySubscription(
        id=as_text(raw["id"]),
        event_type=as_text(raw["event_type"]),
        filter=as_object(raw["filter"]),
        tag=as_text(raw["tag"]),
        webhook_id=as_text(raw["webhook_id"]),
        created_ms=int(as_number(raw["created_ms"])),
        updated_ms=int(as_number(raw["updated_ms"])),
    )


@dataclass(slots=True)
class Subscriptions:
    """All subscriptions, found by account."""

    accounts: dict[str, list[str]] = field(default_factory=dict)
    activity: dict[str, ActivitySubscription] = field(default_factory=dict)
    _activity_by: dict[tuple[str, str], list[ActivitySubscription]] = field(default_factory=dict)

    def subscribe(self, webhook_id: str, user_id: str) -> bool:
        """Add an Account Activity subscription; False when it exists."""
        webhooks = self.accounts.setdefault(user_id, [])
        if webhook_id in webhooks:
            return False
        webhooks.append(webhook_id)
        return True

    def unsubscribe(self, webhook_id: str, user_id: str) -> bool:
        """Remove an Account Activity subscription; False when there is none."""
        webhooks = self.accounts.get(user_id, [])
        if webhook_id not in webhooks:
            return False
        webhooks.remove(webhook_id)
        return True

    def subscribers(self, webhook_id: str) -> list[str]:
        """Return the users that are subscribed to a webhook by Account Activity."""
        return [user_id for user_id, webhooks in self.accounts.items() if webhook_id in webhooks]

    def subscribed_users(self) -> list[str]:
        """Return every user with a subscription of either kind."""
        users = {user_id: None for user_id, webhooks in self.accounts.items() if webhooks}
        users.update({s.user_id: None for s in self.activity.values() if s.user_id and s.webhook_id})
        return list(users)

    def put_activity(self, subscription: ActivitySubscription) -> None:
        """Add or replace an X Activity subscription."""
        self.drop_activity(subscription.id)
        self.activity[subscription.id] = subscription
        self._activity_by.setdefault((subscription.user_id, subscription.event_type), []).append(subscription)

    def drop_activity(self, subscription_id: str) -> bool:
        """Remove an X Activity subscription; False when there is none."""
        subscription = self.activity.pop(subscription_id, None)
        if subscription is None:
            return False
        self._activity_by[subscription.user_id, subscription.event_type].remove(subscription)
        return True

    def activity_of(self, user_id: str, event_type: str) -> list[ActivitySubscription]:
        """Return the X Activity subscriptions that want an event type of a user (`oauth.revoke` has no user)."""
        owner = "" if event_type == "oauth.revoke" else user_id
        return self._activity_by.get((owner, event_type), [])

    def drop_user(self, user_id: str) -> None:
        """Remove what a user has subscribed to, as X does when access is revoked."""
        self.accounts.pop(user_id, None)
        for subscription in [s for s in self.activity.values() if s.user_id == user_id]:
            self.drop_activity(subscription.id)
