"""The example payloads of X's two envelopes, by name."""

from __future__ import annotations

import orjson

NO_ENTITIES = {"hashtags": [], "symbols": [], "user_mentions": [], "urls": []}
ANN = {
    "id": "200",
    "created_timestamp": "1500000000000",
    "name": "Ann",
    "screen_name": "ann_x",
    "protected": False,
    "followers_count": 3,
    "profile_image_url_https": "https://pbs.example/a.png",
}


def item(message_id="9001", sender="200", recipient="100", text="hi", at="1790000000001", **content):
    return {
        "type": "message_create",
        "id": message_id,
        "created_timestamp": at,
        "message_create": {
            "target": {"recipient_id": recipient},
            "sender_id": sender,
            "message_data": {"text": text, "entities": NO_ENTITIES, **content},
        },
    }


def aaa(*items, for_user="100", users=None):
    return {"for_user_id": for_user, "direct_message_events": list(items), "users": users or {}}


def xaa(event_type, payload, user="100", uuid="-511", **rest):
    return {
        "data": {
            "event_uuid": uuid,
            "filter": {"user_id": user} if user else {},
            "event_type": event_type,
            "payload": payload,
            **rest,
        }
    }


MESSAGE_WITH_PICTURE = orjson.loads(
    b'{"for_user_id":"100","direct_message_events":[{"type":"message_create","id":"9003","created_timestamp":'
    b'"1790000000003","message_create":{"target":{"recipient_id":"100"},"sender_id":"200","message_data":{"text":'
    b'"pic https://t.co/aa","entities":{"hashtags":[],"symbols":[],"user_mentions":[],"urls":[{"url":'
    b'"https://t.co/aa","expanded_url":"https://twitter.com/messages/media/9003","display_url":"pic.twitter.com/aa",'
    b'"indices":[4,19]}]},"attachment":{"type":"media","media":{"id":77,"id_str":"77","indices":[4,19],'
    b'"media_url_https":"https://ton.twitter.com/1.1/ton/data/dm/9003/77/k.jpg","url":"https://t.co/aa","type":'
    b'"photo","sizes":{}}}}}}],"users":{}}'
)
OWN_MESSAGE = {
    "for_user_id": "100",
    "direct_message_events": [
        {
            "type": "message_create",
            "id": "9004",
            "created_timestamp": "1790000000004",
            "message_create": {
                "target": {"recipient_id": "200"},
                "sender_id": "100",
                "source_app_id": "55",
                "message_data": {
                    "text": "Shop?",
                    "entities": NO_ENTITIES,
                    "ctas": [
                        {"type": "web_url", "label": "Open", "url": "https://ex.test", "tco_url": "https://t.co/bb"}
                    ],
                },
            },
        }
    ],
    "apps": {"55": {"id": "55", "name": "Gw", "url": "https://ex.test"}},
    "users": {},
}
TYPING = {
    "for_user_id": "100",
    "direct_message_indicate_typing_events": [
        {"created_timestamp": "1790000000005", "sender_id": "200", "target": {"recipient_id": "100"}}
    ],
    "users": {},
}
READ = {
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
}
UNFOLLOW = {
    "for_user_id": "100",
    "follow_events": [
        {
            "type": "unfollow",
            "created_timestamp": "1790000000007",
            "source": {"id": "100", "screen_name": "brand"},
            "target": {"id": "200", "screen_name": "ann_x"},
        }
    ],
}
MENTION = {
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
            "in_reply_to_user_id_str": "100",
            "is_quote_status": False,
            "user": {"id": 200, "id_str": "200", "screen_name": "ann_x"},
            "entities": {"user_mentions": [{"id": 100, "id_str": "100", "screen_name": "brand"}]},
        }
    ],
}
REPOST = {
    "for_user_id": "100",
    "tweet_create_events": [
        {
            "id": 502,
            "id_str": "502",
            "text": "RT @brand: x",
            "retweeted_status": {"id_str": "400", "user": {"id_str": "100"}},
            "is_quote_status": False,
            "user": {"id_str": "200"},
        }
    ],
}
QUOTE = {
    "for_user_id": "100",
    "tweet_create_events": [
        {
            "id": 503,
            "id_str": "503",
            "text": "look https://t.co/q",
            "is_quote_status": True,
            "quoted_status_id_str": "400",
            "quoted_status": {"id_str": "400", "user": {"id_str": "100"}},
            "user": {"id_str": "200"},
        }
    ],
}
LIKE = {
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
}
BLOCK = {
    "for_user_id": "100",
    "block_events": [
        {"type": "block", "created_timestamp": "1790000000009", "source": {"id": "100"}, "target": {"id": "200"}}
    ],
}
UNMUTE = {
    "for_user_id": "100",
    "mute_events": [
        {"type": "unmute", "created_timestamp": "1790000000010", "source": {"id": "100"}, "target": {"id": "200"}}
    ],
}
POST_DELETE = {
    "for_user_id": "100",
    "tweet_delete_events": [{"status": {"id": "501", "user_id": "100"}, "timestamp_ms": "1790000000011"}],
}
REVOKE = {
    "user_event": {
        "revoke": {
            "date_time": "2026-11-02T10:00:00+00:00",
            "target": {"app_id": "55"},
            "source": {"user_id": "100"},
        }
    }
}
REPLAY_STATUS = {
    "replay_job_status": {
        "webhook_id": "7",
        "job_state": "Complete",
        "job_state_description": "Job completed successfully",
        "job_id": "8",
    }
}
SEED_EXAMPLE = {
    "direct_message_events": [
        {
            "id": "123456789",
            "created_timestamp": "1642000000000",
            "message_create": {
                "sender_id": "987654321",
                "target": {"recipient_id": "123456789"},
                "message_data": {"text": "Hello!", "entities": {}},
            },
        }
    ],
    "users": {"987654321": {"id": "987654321", "screen_name": "customer_john", "name": "John Doe"}},
}

AAA_EXAMPLES = (
    aaa(item(), users={"200": ANN}),
    MESSAGE_WITH_PICTURE,
    OWN_MESSAGE,
    TYPING,
    READ,
    UNFOLLOW,
    MENTION,
    REPOST,
    QUOTE,
    LIKE,
    BLOCK,
    UNMUTE,
    POST_DELETE,
    REVOKE,
    REPLAY_STATUS,
    SEED_EXAMPLE,
)
