"""Both envelopes: every family of events, in the shapes that X documents."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox import aaa, xaa
from sandbox.events import Event, Kind
from sandbox.world import APP, World
from tests.sandbox.shop import Receiver, Shop, make_world, register

DM = {
    "type": "message_create",
    "id": "9101",
    "created_timestamp": "1790000000012",
    "message_create": {
        "target": {"recipient_id": "100"},
        "sender_id": "200",
        "message_data": {
            "text": "STOP",
            "entities": {"hashtags": [], "symbols": [], "user_mentions": [], "urls": []},
        },
    },
}
ANN = {"id": "200", "username": "ann_x", "name": "Ann"}

XAA_DOCUMENTED: dict[str, dict[str, Any]] = {
    "dm.received": {
        "event_uuid": "-511",
        "filter": {"user_id": "100"},
        "event_type": "dm.received",
        "tag": "gw:100",
        "payload": {"direct_message_events": [DM], "users": {"200": {"data": ANN}}},
    },
    "follow.follow": {
        "event_uuid": "512",
        "filter": {"user_id": "100"},
        "event_type": "follow.follow",
        "payload": {
            "source": {"data": {"id": "200", "username": "ann_x"}},
            "target": {"data": {"id": "100", "username": "brand"}},
        },
    },
    "oauth.revoke": {
        "event_uuid": "513",
        "filter": {},
        "event_type": "oauth.revoke",
        "payload": {"date_time": "2026-11-02T10:00:00+00:00", "user_id": "100", "app_id": "55"},
    },
}

AAA_DOCUMENTED: dict[Kind, dict[str, Any]] = {
    Kind.TYPING: {
        "for_user_id": "100",
        "direct_message_indicate_typing_events": [
            {"created_timestamp": "1790000000005", "sender_id": "200", "target": {"recipient_id": "100"}}
        ],
        "users": {},
    },
    Kind.READ: {
        "for_user_id": "100",
        "direct_message_mark_read_events": [
            {
                "created_timestamp": "1790000000006",
                "sender_id": "200",
                "target": {"recipient_id": "100"},
                "last_read_event_id": "9004",
            }
        ],
        "users": {},
    },
    Kind.UNFOLLOW: {
        "for_user_id": "100",
        "follow_events": [
            {
                "type": "unfollow",
                "created_timestamp": "1790000000007",
                "source": {"id": "200", "screen_name": "ann_x"},
                "target": {"id": "100", "screen_name": "brand"},
            }
        ],
    },
    Kind.BLOCK: {
        "for_user_id": "100",
        "block_events": [{"type": "block", "created_timestamp": "1", "source": {"id": "200"}, "target": {"id": "100"}}],
    },
    Kind.UNMUTE: {
        "for_user_id": "100",
        "mute_events": [{"type": "unmute", "created_timestamp": "1", "source": {"id": "200"}, "target": {"id": "100"}}],
    },
    Kind.MENTION: {
        "for_user_id": "100",
        "user_has_blocked": "false",
        "tweet_create_events": [
            {
                "created_at": "Mon Nov 02 10:00:00 +0000 2026",
                "id": 501,
                "id_str": "501",
                "text": "@brand hi",
                "truncated": False,
                "in_reply_to_status_id_str": None,
                "is_quote_status": False,
                "user": {"id": 200, "id_str": "200", "screen_name": "ann_x"},
                "entities": {
                    "hashtags": [],
                    "urls": [],
                    "symbols": [],
                    "user_mentions": [
                        {"id": 100, "id_str": "100", "screen_name": "brand", "name": "Brand", "indices": [0, 6]}
                    ],
                },
            }
        ],
    },
    Kind.REPLY: {
        "for_user_id": "100",
        "tweet_create_events": [{"id_str": "1", "in_reply_to_status_id_str": "400", "in_reply_to_user_id_str": "100"}],
    },
    Kind.REPOST: {
        "for_user_id": "100",
        "tweet_create_events": [
            {
                "id": 502,
                "id_str": "502",
                "text": "x",
                "retweeted_status": {"id_str": "400", "user": {"id_str": "100"}},
                "is_quote_status": False,
                "user": {"id_str": "200"},
            }
        ],
    },
    Kind.QUOTE: {
        "for_user_id": "100",
        "tweet_create_events": [
            {
                "id": 503,
                "id_str": "503",
                "text": "look",
                "is_quote_status": True,
                "quoted_status_id_str": "400",
                "quoted_status": {"id_str": "400", "user": {"id_str": "100"}},
                "user": {"id_str": "200"},
            }
        ],
    },
    Kind.LIKE: {
        "for_user_id": "100",
        "favorite_events": [
            {
                "id": "a1b2c3",
                "created_at": "Mon Nov 02 10:00:00 +0000 2026",
                "timestamp_ms": 1790000000008,
                "favorited_status": {"id_str": "400"},
                "user": {"id_str": "200"},
            }
        ],
    },
    Kind.POST: {"for_user_id": "100", "tweet_create_events": [{"id_str": "1", "user": {"id_str": "100"}}]},
    Kind.DELETE: {
        "for_user_id": "100",
        "tweet_delete_events": [{"status": {"id": "501", "user_id": "100"}, "timestamp_ms": "1790000000011"}],
    },
    Kind.REVOKE: {
        "user_event": {
            "revoke": {
                "date_time": "2026-11-02T10:00:00+00:00",
                "target": {"app_id": "55"},
                "source": {"user_id": "100"},
            }
        }
    },
}


def assert_shaped(documented: Any, real: Any, at: str = "") -> None:
    """Whatever the documented example has, the real body has with the same type; it may have more fields."""
    assert type(documented) is type(real), f"{at}: {real!r}"
    if isinstance(documented, dict):
        for name, value in documented.items():
            assert name in real, f"{at}.{name} is missing"
            assert_shaped(value, real[name], f"{at}.{name}")
    elif isinstance(documented, list) and documented:
        assert len(real) == len(documented), at
        for one, other in zip(documented, real, strict=True):
            assert_shaped(one, other, f"{at}[]")


@pytest.fixture
def peopled() -> World:
    world = make_world()
    world.add_customer("200", username="ann_x", name="Ann")
    return world


def happening(kind: Kind) -> Event:
    own = kind in (Kind.POST, Kind.DELETE, Kind.REVOKE)
    data: dict[str, object] = {"last_read_event_id": "9004"} if kind is Kind.READ else {}
    actor = "100" if own else "200"
    return Event(kind, "100", actor, 1790000000000, "501", target_id="" if own else "100", data=data)


@pytest.mark.parametrize("kind", AAA_DOCUMENTED)
def test_account_activity_bodies_have_the_documented_shape(kind: Kind, peopled: World) -> None:
    body = aaa.envelope(happening(kind), peopled.people, APP)
    assert_shaped(AAA_DOCUMENTED[kind], body)
    assert set(body) == set(AAA_DOCUMENTED[kind])


def test_account_activity_messages_have_the_documented_shape(peopled: World) -> None:
    message = peopled.compose(
        "200", "100", "pic", via="app", media={"id": "77", "type": "photo"}, quick_reply_response="opt_red"
    )
    event = Event(Kind.MESSAGE, "100", "200", 1, message.id, target_id="100", message=message)
    body: Any = aaa.envelope(event, peopled.people, APP)
    user = {
        "id": "200",
        "created_timestamp": "1500000000000",
        "name": "Ann",
        "screen_name": "ann_x",
        "protected": False,
        "verified": False,
        "followers_count": 3,
        "friends_count": 4,
        "statuses_count": 5,
        "profile_image_url_https": "https://pbs.example/a.png",
    }
    assert_shaped({"for_user_id": "100", "direct_message_events": [DM], "users": {"200": user}}, body)
    data = body["direct_message_events"][0]["message_create"]["message_data"]
    assert data["quick_reply_response"] == {"type": "options", "metadata": "opt_red"}
    media = data["attachment"]["media"]
    assert (media["id"], media["id_str"], media["type"]) == (77, "77", "photo")
    assert data["text"][media["indices"][0] : media["indices"][1]] == media["url"]
    assert data["text"] == f"pic {media['url']}"


@pytest.mark.parametrize("event_type", XAA_DOCUMENTED)
async def test_activity_bodies_have_the_documented_shape(event_type: str, shop: Shop, receiver: Receiver) -> None:
    documented = XAA_DOCUMENTED[event_type]
    created = await shop.call("POST", "/2/webhooks", {"url": receiver.url}, app=True)
    wanted = {"event_type": event_type, "filter": documented["filter"], "webhook_id": created.body["data"]["id"]}
    if "tag" in documented:
        wanted["tag"] = documented["tag"]
    assert (await shop.call("POST", "/2/activity/subscriptions", wanted)).status == 200
    if event_type == "dm.received":
        await shop.control("POST", "say", {"from": "200", "to": "100", "text": "STOP"})
    else:
        kind = event_type.rsplit(".", 1)[1]
        await shop.control("POST", "events", {"kind": kind, "account": "100", "actor": "200"})
    body = (await receiver.wait_for(1))[0]
    assert_shaped({"data": documented}, body)
    assert set(body["data"]) == set(documented)
    assert body["data"]["filter"] == documented["filter"]
    assert body["data"]["event_type"] == event_type
    int(body["data"]["event_uuid"])


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind not in (Kind.MESSAGE, Kind.REPLAY_STATUS)])
async def test_every_kind_can_be_emitted_in_both_envelopes(kind: Kind, shop: Shop, receiver: Receiver) -> None:
    webhook_id = await register(shop, receiver)
    event_type = xaa.event_type(happening(kind))
    filtered = {} if kind is Kind.REVOKE else {"user_id": "100"}
    wanted = {"event_type": event_type, "filter": filtered, "webhook_id": webhook_id}
    assert (await shop.call("POST", "/2/activity/subscriptions", wanted)).status == 200
    await shop.control("POST", "events", {"kind": kind, "account": "100", "actor": "200", "text": "hi"})
    bodies = await receiver.wait_for(2)
    activity = next(body["data"] for body in bodies if "data" in body)
    assert activity["event_type"] == event_type
    assert activity["payload"]
    assert any("data" not in body for body in bodies)


async def test_a_revoked_account_loses_its_token_and_its_subscriptions(shop: Shop, receiver: Receiver) -> None:
    await register(shop, receiver)
    await shop.control("POST", "events", {"kind": "revoke", "account": "100"})
    body = (await receiver.wait_for(1))[0]
    assert body["user_event"]["revoke"]["source"] == {"user_id": "100"}
    assert (await shop.call("GET", "/2/users/me")).status == 401
    assert (await shop.control("GET", "state"))["subscriptions"]["account_activity"] == {}


async def test_own_sends_are_dm_sent_in_x_activity(shop: Shop, receiver: Receiver) -> None:
    created = await shop.call("POST", "/2/webhooks", {"url": receiver.url}, app=True)
    for event_type in ("dm.sent", "dm.received"):
        wanted = {"event_type": event_type, "filter": {"user_id": "100"}, "webhook_id": created.body["data"]["id"]}
        await shop.call("POST", "/2/activity/subscriptions", wanted)
    await shop.send("hello")
    body = (await receiver.wait_for(1))[0]
    assert body["data"]["event_type"] == "dm.sent"
    await shop.control("POST", "say", {"from": "200", "to": "100", "text": "hi", "quick_reply": "opt"})
    body = (await receiver.wait_for(2))[1]
    assert body["data"]["event_type"] == "dm.received"
    data = body["data"]["payload"]["direct_message_events"][0]["message_create"]["message_data"]
    assert data["quick_reply_response"] == {"type": "options", "metadata": "opt"}
