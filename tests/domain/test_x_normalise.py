from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.events import EventKind
from domain.x_normalise import UnknownEnvelope, normalise
from tests.domain import x_payloads as x

NOW = datetime(2026, 11, 22, 12, 0, 0, 5000, tzinfo=UTC)


def only(payload):
    (event,) = normalise(payload, NOW)
    return event


def at(ms: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)


# --- Account Activity, one by one


def test_a_message_from_a_customer_is_inbound_with_their_profile():
    event = only(x.aaa(x.item(), users={"200": x.ANN}))

    assert event.kind is EventKind.MESSAGE
    assert event.key == "dm:100:9001"
    assert (event.for_user_id, event.participant_id) == ("100", "200")
    assert event.at == at(1790000000001)
    assert event.data == {"twitterMessageId": "9001", "direction": "inbound", "text": "hi"}
    assert event.profile == {
        "username": "ann_x",
        "displayName": "Ann",
        "profileImageUrl": "https://pbs.example/a.png",
    }


def test_a_chosen_quick_reply_keeps_its_metadata():
    chosen = x.item(text="Red", quick_reply_response={"type": "options", "metadata": "opt_red"})

    event = only(x.aaa(chosen))

    assert event.data["quickReply"] == "opt_red"
    assert event.data["text"] == "Red"


def test_a_picture_is_described_and_its_link_leaves_the_text():
    event = only(x.MESSAGE_WITH_PICTURE)

    assert event.data["text"] == "pic"
    assert event.data["attachments"] == [
        {
            "type": "photo",
            "mediaId": "77",
            "url": "https://t.co/aa",
            "mediaUrl": "https://ton.twitter.com/1.1/ton/data/dm/9003/77/k.jpg",
        }
    ]


def test_a_picture_without_words_has_an_empty_text():
    payload = deepcopy(x.MESSAGE_WITH_PICTURE)
    payload["direct_message_events"][0]["message_create"]["message_data"]["text"] = "https://t.co/aa"

    assert only(payload).data["text"] == ""


def test_a_link_that_is_not_the_attachments_stays_in_the_text():
    payload = deepcopy(x.MESSAGE_WITH_PICTURE)
    payload["direct_message_events"][0]["message_create"]["message_data"]["text"] = "see https://t.co/zz"

    assert only(payload).data["text"] == "see https://t.co/zz"


def test_a_link_at_the_end_of_a_message_without_attachment_stays():
    payload = deepcopy(x.MESSAGE_WITH_PICTURE)
    del payload["direct_message_events"][0]["message_create"]["message_data"]["attachment"]

    assert only(payload).data["text"] == "pic https://t.co/aa"


def test_a_video_is_described_by_its_best_variant():
    media = {
        "id_str": "78",
        "type": "video",
        "media_url_https": "https://ex.test/still.jpg",
        "video_info": {
            "variants": [
                {"content_type": "application/x-mpegURL", "url": "https://ex.test/list.m3u8"},
                {"content_type": "video/mp4", "bitrate": 320, "url": "https://ex.test/low.mp4"},
                {"content_type": "video/mp4", "bitrate": 2176, "url": "https://ex.test/high.mp4"},
                {"content_type": "video/mp4", "bitrate": "9999", "url": "https://ex.test/broken.mp4"},
            ]
        },
    }

    event = only(x.aaa(x.item(attachment={"type": "media", "media": media})))

    assert event.data["attachments"] == [{"type": "video", "mediaId": "78", "mediaUrl": "https://ex.test/high.mp4"}]


def test_a_shared_place_is_described_by_its_coordinates():
    location = {"type": "shared_coordinate", "shared_coordinate": {"coordinates": {"coordinates": [13.4, 52.5]}}}

    event = only(x.aaa(x.item(attachment={"type": "location", "location": location})))

    assert event.data["attachments"] == [{"type": "location", "latitude": 52.5, "longitude": 13.4}]


@pytest.mark.parametrize("attachment", ["text", 1, [], {}, {"type": "hologram"}, {"type": "media", "media": 5}])
def test_an_attachment_that_can_not_be_read_is_still_seen_to_be_there(attachment):
    event = only(x.aaa(x.item(attachment=attachment)))

    assert event.kind is EventKind.MESSAGE
    assert event.data["attachments"] == [{"type": "unknown"}]


def test_an_own_message_is_an_outbound_echo_with_its_app():
    event = only(x.OWN_MESSAGE)

    assert event.participant_id == "200"
    assert event.data == {
        "twitterMessageId": "9004",
        "direction": "outbound",
        "text": "Shop?",
        "isEcho": True,
        "sourceAppId": "55",
    }


def test_without_a_named_account_a_message_belongs_to_its_recipient():
    event = only(x.SEED_EXAMPLE)

    assert event.key == "dm:123456789:123456789"
    assert (event.for_user_id, event.participant_id) == ("123456789", "987654321")
    assert event.data == {"twitterMessageId": "123456789", "direction": "inbound", "text": "Hello!"}
    assert event.profile == {"username": "customer_john", "displayName": "John Doe"}


def test_two_accounts_in_one_conversation_get_an_event_each():
    received = only(x.aaa(x.item(), for_user="100"))
    sent = only(x.aaa(x.item(), for_user="200"))

    assert {received.key, sent.key} == {"dm:100:9001", "dm:200:9001"}
    assert (received.data["direction"], sent.data["direction"]) == ("inbound", "outbound")


def test_several_messages_of_one_body_keep_their_order():
    events = normalise(x.aaa(*(x.item(str(n)) for n in range(9000, 9010))), NOW)

    assert [event.data["twitterMessageId"] for event in events] == [str(n) for n in range(9000, 9010)]


def test_typing_names_the_person_and_has_a_key_of_its_content():
    event = only(x.TYPING)
    later = deepcopy(x.TYPING)
    later["direct_message_indicate_typing_events"][0]["created_timestamp"] = "1790000000006"

    assert (event.kind, event.participant_id, event.data) == (EventKind.TYPING, "200", {"direction": "inbound"})
    assert event.key.startswith("typing:100:")
    assert only(later).key != event.key


def test_reading_names_the_last_message_that_was_read():
    event = only(x.READ)

    assert event.kind is EventKind.READ
    assert event.data == {"direction": "inbound", "lastReadMessageId": "9004"}
    assert event.participant_id == "200"


def test_an_unfollow_by_the_account_is_outbound():
    event = only(x.UNFOLLOW)

    assert (event.kind, event.participant_id) == (EventKind.UNFOLLOW, "200")
    assert event.data == {"direction": "outbound"}
    assert event.profile == {"username": "ann_x"}


def test_a_follow_by_a_customer_is_inbound():
    payload = deepcopy(x.UNFOLLOW)
    follow = payload["follow_events"][0]
    follow["type"] = "follow"
    follow["source"], follow["target"] = follow["target"], follow["source"]

    event = only(payload)

    assert (event.kind, event.participant_id, event.data) == (EventKind.FOLLOW, "200", {"direction": "inbound"})


def test_a_mention_carries_the_post_and_its_author():
    event = only(x.MENTION)

    assert event.kind is EventKind.MENTION
    assert event.key == "post:100:mention:501"
    assert event.at == datetime(2026, 11, 2, 10, tzinfo=UTC)
    assert event.participant_id == "200"
    assert event.data == {
        "direction": "inbound",
        "postId": "501",
        "authorId": "200",
        "text": "@brand hi",
        "inReplyToUserId": "100",
    }


def test_a_reply_to_the_accounts_post_is_a_reply():
    payload = deepcopy(x.MENTION)
    payload["tweet_create_events"][0]["in_reply_to_status_id_str"] = "400"

    event = only(payload)

    assert event.kind is EventKind.REPLY
    assert event.data["inReplyToPostId"] == "400"


def test_a_repost_names_the_original():
    event = only(x.REPOST)

    assert (event.kind, event.data["repostedPostId"], event.at) == (EventKind.REPOST, "400", NOW)


def test_a_quote_names_the_original():
    event = only(x.QUOTE)

    assert (event.kind, event.data["quotedPostId"]) == (EventKind.QUOTE, "400")


def test_an_own_post_has_no_other_person():
    payload = deepcopy(x.MENTION)
    payload["tweet_create_events"][0]["user"] = {"id_str": "100", "screen_name": "brand"}

    event = only(payload)

    assert (event.kind, event.participant_id, event.profile) == (EventKind.POST, "", {})
    assert event.data["direction"] == "outbound"


def test_a_long_post_is_kept_whole():
    payload = deepcopy(x.MENTION)
    payload["tweet_create_events"][0] |= {"truncated": True, "extended_tweet": {"full_text": "long " * 100}}

    assert only(payload).data["text"] == "long " * 100


def test_a_like_is_keyed_by_its_id():
    event = only(x.LIKE)

    assert event.kind is EventKind.LIKE
    assert event.key == "like:100:a1b2c3"
    assert event.at == at(1790000000008)
    assert event.data == {"direction": "inbound", "likeId": "a1b2c3", "postId": "400"}


@pytest.mark.parametrize(("payload", "kind"), [(x.BLOCK, EventKind.BLOCK), (x.UNMUTE, EventKind.UNMUTE)])
def test_blocks_and_mutes_are_the_accounts_own_doing(payload, kind):
    event = only(payload)

    assert (event.kind, event.participant_id, event.data) == (kind, "200", {"direction": "outbound"})


def test_a_deleted_post_names_the_post():
    event = only(x.POST_DELETE)

    assert event.kind is EventKind.POST_DELETE
    assert event.data == {"direction": "outbound", "postId": "501", "authorId": "100"}


def test_a_revocation_names_the_account_and_the_app():
    event = only(x.REVOKE)

    assert (event.kind, event.for_user_id, event.data) == (EventKind.REVOKE, "100", {"appId": "55"})
    assert event.at == datetime(2026, 11, 2, 10, tzinfo=UTC)


def test_a_finished_replay_tells_its_job():
    event = only(x.REPLAY_STATUS)

    assert event.kind is EventKind.REPLAY_STATUS
    assert event.data == {
        "webhookId": "7",
        "jobId": "8",
        "state": "Complete",
        "description": "Job completed successfully",
    }


# --- X Activity


def test_an_activity_message_reads_the_wrapped_user():
    payload = x.xaa(
        "dm.received",
        {
            "direct_message_events": [x.item("9101", text="STOP")],
            "users": {"200": {"data": {"id": "200", "username": "ann_x", "name": "Ann"}}},
        },
    )

    event = only(payload)

    assert event.key == "dm:100:9101"
    assert event.data["text"] == "STOP"
    assert event.profile == {"username": "ann_x", "displayName": "Ann"}


def test_activity_events_may_come_as_a_list():
    one = x.xaa("dm.received", {"direct_message_events": [x.item("1")]})["data"]
    two = x.xaa("dm.sent", {"direct_message_events": [x.item("2", sender="100", recipient="200")]})["data"]

    events = normalise({"data": [one, two]}, NOW)

    assert [(event.key, event.data["direction"]) for event in events] == [
        ("dm:100:1", "inbound"),
        ("dm:100:2", "outbound"),
    ]


def test_a_sent_activity_message_without_a_filter_belongs_to_its_sender():
    payload = x.xaa("dm.sent", {"direct_message_events": [x.item(sender="100", recipient="200")]}, user="")

    event = only(payload)

    assert (event.for_user_id, event.participant_id, event.data["isEcho"]) == ("100", "200", True)


def test_an_activity_follow_is_keyed_by_its_delivery():
    payload = {
        "source": {"data": {"id": "200", "username": "ann_x"}},
        "target": {"data": {"id": "100", "username": "brand"}},
    }

    event = only(x.xaa("follow.follow", payload, uuid="512"))

    assert (event.kind, event.participant_id, event.data) == (EventKind.FOLLOW, "200", {"direction": "inbound"})
    assert event.profile == {"username": "ann_x"}
    assert only(x.xaa("follow.follow", payload, uuid="512")).key == event.key
    assert only(x.xaa("follow.follow", payload, uuid="513")).key != event.key


def test_an_activity_revocation_is_the_same_event_as_the_account_activity_one():
    payload = x.xaa(
        "oauth.revoke", {"date_time": "2026-11-02T10:00:00+00:00", "user_id": "100", "app_id": "55"}, user=""
    )

    assert only(payload) == only(x.REVOKE)


@pytest.mark.parametrize(
    ("event_type", "kind"),
    [
        ("post.create", EventKind.POST),
        ("post.mention.create", EventKind.MENTION),
        ("post.reply.create", EventKind.REPLY),
        ("post.quote.create", EventKind.QUOTE),
        ("post.repost.create", EventKind.REPOST),
    ],
)
def test_activity_posts_take_their_kind_from_their_type(event_type, kind):
    post = {
        "id": "601",
        "author_id": "200",
        "text": "short",
        "note_tweet": {"text": "the whole text"},
        "created_at": "2026-11-02T10:00:00.123Z",
        "in_reply_to_user_id": "100",
        "referenced_tweets": [{"type": "replied_to", "id": "400"}, {"type": "quoted", "id": "401"}, "x", {}],
    }

    event = only(x.xaa(event_type, post, includes={"users": [{"id": "200", "username": "ann_x"}]}))

    assert (event.kind, event.key) == (kind, f"post:100:{kind}:601")
    assert event.at == datetime(2026, 11, 2, 10, 0, 0, 123000, tzinfo=UTC)
    assert event.profile == {"username": "ann_x"}
    assert event.data == {
        "direction": "inbound",
        "postId": "601",
        "authorId": "200",
        "text": "the whole text",
        "inReplyToPostId": "400",
        "inReplyToUserId": "100",
        "quotedPostId": "401",
    }


def test_an_activity_post_deletion_has_the_same_key_as_the_account_activity_one():
    assert only(x.xaa("post.delete", {"id": "501", "author_id": "100"})).key == only(x.POST_DELETE).key


def test_an_outbound_activity_like_is_the_accounts_own():
    payload = x.xaa(
        "like.create",
        {"id": "l1", "timestamp_ms": "1790000000008", "liked_tweet_id": "400", "liked_tweet_author_id": "200"},
    )
    payload["data"]["filter"]["direction"] = "outbound"

    event = only(payload)

    assert (event.participant_id, event.data["direction"], event.at) == ("200", "outbound", at(1790000000008))


def test_an_inbound_activity_like_finds_who_liked_among_the_included_people():
    payload = x.xaa(
        "like.create",
        {"id": "l1", "timestamp_ms": "1790000000008", "liked_tweet_id": "400", "tweet_author_id": 100},
        includes={"users": [{"id": "100"}, {"data": {"id": "200", "username": "ann_x"}}]},
    )
    payload["data"]["filter"]["direction"] = "inbound"

    event = only(payload)

    assert (event.participant_id, event.data["direction"]) == ("200", "inbound")
    assert event.profile == {"username": "ann_x"}


@pytest.mark.parametrize(
    ("event_type", "example", "family"),
    [
        ("dm.indicate_typing", x.TYPING, "direct_message_indicate_typing_events"),
        ("dm.read", x.READ, "direct_message_mark_read_events"),
    ],
)
def test_activity_signals_are_read_bare_or_in_a_list(event_type, example, family):
    bare, listed = x.xaa(event_type, example[family][0]), x.xaa(event_type, {family: example[family]})

    assert only(bare) == only(listed) == only(example)


# --- what is unknown


@pytest.mark.parametrize(
    "payload", [None, 5, "text", [], [{}], {}, {"foo": 1}, {"for_user_id": "100"}, {"data": {}}, {"data": [{}, 3]}]
)
def test_json_that_is_no_envelope_is_refused(payload):
    with pytest.raises(UnknownEnvelope):
        normalise(payload, NOW)


@pytest.mark.parametrize(
    "payload",
    [
        {"for_user_id": "100", "poll_events": [{"id": 1}]},
        {"poll_events": [{"id": 1}]},
        {"for_user_id": "100", "something": {"new": True}},
        {"for_user_id": {"not": "an id"}, "direct_message_events": []},
        {"for_user_id": "100", "direct_message_events": {"not": "a list"}},
        x.xaa("chat.received", {"ciphertext": "..."}),
        x.xaa("spaces.start", {}),
    ],
)
def test_what_a_known_envelope_holds_beyond_what_is_known_is_kept_whole(payload):
    event = only(payload)

    assert event.kind is EventKind.UNKNOWN
    assert event.at == NOW
    assert isinstance(event.data["raw"], str)
    kept = orjson.loads(event.data["raw"])
    assert kept in (payload, payload.get("data"), *payload.values())


def test_an_unknown_event_has_the_same_key_whatever_the_order_of_its_fields():
    one = {"for_user_id": "100", "poll_events": [{"id": 1, "name": "a"}]}
    other = {"poll_events": [{"name": "a", "id": 1}], "for_user_id": "100"}

    assert only(one).key == only(other).key


def test_an_empty_list_of_events_is_no_event():
    assert normalise(x.aaa(), NOW) == []
    assert normalise({"data": []}, NOW) == []


@pytest.mark.parametrize(
    "broken",
    [
        None,
        "text",
        {},
        {"id": "1"},
        x.item(message_id=""),
        x.item(message_id=None),
        x.item(message_id="9" * 65),
        x.item(message_id="../etc"),
        x.item(message_id="1\n"),
        x.item(message_id=1.5),
        x.item(message_id=2**70),
        x.item(message_id=-1),
        x.item(message_id=True),
        x.item(sender=None),
        x.item(recipient={}),
        x.item(sender="300", recipient="400"),
        x.item(text=5),
        x.item(text="\ud800"),
        x.item() | {"type": "message_edit"},
        x.item() | {"message_create": {"target": {"recipient_id": "100"}, "sender_id": "200"}},
    ],
)
def test_a_broken_item_is_kept_as_unknown_and_its_neighbours_are_read(broken):
    kinds = [event.kind for event in normalise(x.aaa(x.item("1"), broken, x.item("2")), NOW)]

    assert kinds == [EventKind.MESSAGE, EventKind.UNKNOWN, EventKind.MESSAGE]


def test_ids_may_be_numbers():
    event = only(x.aaa(x.item(message_id=9001, sender=200, recipient=100), for_user=100))

    assert event == only(x.aaa(x.item()))


@pytest.mark.parametrize(
    "moment", [None, "", "x", "-5", -5, 0, "0", 10**30, "9" * 40, 1.5, True, [], "١٧٩٠", "99999999999999", 1 << 62]
)
def test_a_time_that_is_missing_or_absurd_gives_way_to_the_time_of_receipt(moment):
    event = only(x.aaa(x.item(at=moment)))

    assert (event.kind, event.at) == (EventKind.MESSAGE, NOW)


def test_a_time_may_be_a_number():
    assert only(x.aaa(x.item(at=1790000000001))).at == at(1790000000001)


def test_text_is_kept_to_the_letter_and_whole():
    text = "a &amp; b \x00 \u2028 " + "é" * 1_000_000

    assert only(x.aaa(x.item(text=text))).data["text"] == text


@pytest.mark.parametrize(
    "user", [None, 5, [], "x", {"name": 5, "screen_name": []}, {"name": "\udfff"}, {"name": "n" * 10_000_000}]
)
def test_a_profile_that_can_not_be_read_says_nothing(user):
    event = only(x.aaa(x.item(), users={"200": user}))

    assert (event.kind, event.profile) == (EventKind.MESSAGE, {})


@pytest.mark.parametrize("image", ["javascript:alert(1)", "data:x", 5, "https://" + "x" * 10_000, "https://\ud800"])
def test_a_profile_picture_is_an_http_address_or_nothing(image):
    event = only(x.aaa(x.item(), users={"200": {"name": "Ann", "profile_image_url_https": image}}))

    assert event.profile == {"displayName": "Ann"}


def test_nesting_that_can_not_be_written_down_is_no_envelope_of_x():
    nested: object = "deep"
    for _ in range(5000):
        nested = [nested]

    with pytest.raises(UnknownEnvelope):
        normalise({"for_user_id": "100", "poll_events": nested}, NOW)


# --- properties

XAA_EXAMPLES = (
    x.xaa("dm.received", {"direct_message_events": [x.item()], "users": {"200": {"data": {"id": "200"}}}}),
    x.xaa("like.create", {"id": "1", "liked_tweet_id": "2"}, includes={"users": [{"id": "200"}]}),
    x.xaa(
        "post.create", {"id": "1", "author_id": "2", "text": "t", "referenced_tweets": [{"type": "quoted", "id": "3"}]}
    ),
    x.xaa("follow.follow", {"source": {"data": {"id": "200"}}, "target": {"data": {"id": "100"}}}),
    x.xaa("oauth.revoke", {"date_time": "2026-11-02T10:00:00+00:00", "user_id": "100", "app_id": "55"}),
)


def _names(value):
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _names(inner)
    yield from value if isinstance(value, dict) else ()


NAMES = sorted({name for example in x.AAA_EXAMPLES + XAA_EXAMPLES for name in _names(example)})
ids = st.integers(1, 2**62).map(str)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    ids,
    st.sampled_from(["1790000000001", "message_create", "follow", "x" * 10_000, "\x00", "\ud800"]),
    st.sampled_from(["0001-01-01T00:00:00+23:59"]),
)
TYPES = ["dm.received", "dm.sent", "dm.read", "dm.indicate_typing", "post.delete", "like.create", "oauth.revoke"]
names = st.one_of(st.sampled_from(NAMES), st.text(max_size=8), st.sampled_from(["\ud800", "\x00", "$where"]))
json_values = st.recursive(
    st.one_of(scalars, st.sampled_from(TYPES)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=6)),
    max_leaves=25,
)


def _paths(value, path=()):
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _paths(inner, (*path, key))


@st.composite
def damaged_envelopes(draw):
    """A real envelope in which one to three places were replaced by anything."""
    payload = deepcopy(draw(st.sampled_from(x.AAA_EXAMPLES + XAA_EXAMPLES)))
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from([path for path in _paths(payload) if path]))
        place = payload
        for step in parents:
            place = place[step]
        place[last] = draw(json_values)
    return payload


def _assert_sound(payload):
    try:
        events = normalise(payload, NOW)
    except UnknownEnvelope:
        return
    assert events == normalise(deepcopy(payload), NOW + timedelta(0))
    for event in events:
        assert event.key.encode()
        assert len(event.key) < 250
        assert event.at.tzinfo is UTC
        assert event.at.microsecond % 1000 == 0
        # Whatever was sent, every event can be written as UTF-8 and as JSON, and so can be stored.
        assert orjson.dumps([event.data, event.profile, event.for_user_id, event.participant_id])


@given(json_values)
def test_any_json_gives_storable_events_or_is_no_envelope(payload):
    _assert_sound(payload)


@given(damaged_envelopes())
def test_any_damage_to_an_envelope_gives_storable_events_or_is_no_envelope(payload):
    _assert_sound(payload)


@given(damaged_envelopes(), st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=30)))
def test_a_body_that_comes_again_later_has_the_same_keys(payload, later):
    try:
        first = [event.key for event in normalise(payload, NOW)]
    except UnknownEnvelope:
        return

    assert [event.key for event in normalise(payload, NOW + later)] == first


@given(
    message_id=ids,
    account=ids,
    customer=ids,
    own=st.booleans(),
    text=st.text(max_size=30),
    moment=st.integers(0, 5_000_000_000_000),
    name=st.text(min_size=1, max_size=10),
    attachment=st.one_of(st.none(), json_values),
)
def test_a_message_is_the_same_event_in_both_envelopes(
    message_id, account, customer, own, text, moment, name, attachment
):
    sender, recipient = (account, customer) if own else (customer, account)
    extra = {} if attachment is None else {"attachment": attachment}
    item = x.item(message_id, sender, recipient, text, str(moment), **extra)
    user = {"id": customer, "name": name}
    by_account = x.aaa(item, for_user=account, users={customer: user | {"screen_name": "u"}})
    by_activity = x.xaa(
        "dm.sent" if own else "dm.received",
        {"direct_message_events": [item], "users": {customer: {"data": user | {"username": "u"}}}},
        user=account,
    )

    assert normalise(by_account, NOW) == normalise(by_activity, NOW)
    assert only(by_account).kind is EventKind.MESSAGE


@given(st.lists(st.tuples(ids, ids), min_size=2, max_size=6, unique=True))
def test_different_messages_never_share_a_key(pairs):
    keys = [only(x.aaa(x.item(m, sender="1", recipient=account), for_user=account)).key for account, m in pairs]

    assert len(set(keys)) == len(pairs)
