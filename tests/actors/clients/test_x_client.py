from __future__ import annotations

import asyncio
import logging
import pickle
import socket
from datetime import UTC, datetime

import orjson
import pytest

from actors.clients.x_app import XApp
from actors.clients.x_models import XMessage, XUser
from actors.clients.x_transport import MOST_ANSWER_BYTES, XApiError
from domain.clock import SystemClock
from domain.errors import InvalidContent
from domain.outgoing_content import OutgoingContent
from domain.templates import Button, QuickReply
from domain.x_errors import FailureKind
from domain.x_rate_headers import ReportedWindow
from tests.actors.clients.conftest import x_settings
from tests.actors.clients.media import media_file
from tests.actors.clients.x_server import TOKEN, TOKEN_SECRET, breaks_off, hangs_up, never_answers, says, writes

SEND = "POST /2/dm_conversations/with/200/messages"
SEND_V1 = "POST /1.1/direct_messages/events/new.json"
LIST = "GET /2/dm_conversations/with/200/dm_events"
SENT = says({"data": {"dm_conversation_id": "100-200", "dm_event_id": "9001"}}, 201)


async def failure_of(awaitable):
    with pytest.raises(XApiError) as refused:
        await awaitable
    return refused.value.failure


async def test_a_message_is_sent_signed_over_the_address_really_called(x_server, x_client):
    x_server.answers[SEND] = SENT

    sent = await x_client.send_message("200", OutgoingContent("Hello, 世界 & co"))

    assert (sent.event_id, sent.conversation_id) == ("9001", "100-200")
    (call,) = x_server.calls
    assert call.signed
    assert orjson.loads(call.body) == {"text": "Hello, 世界 & co"}
    assert call.headers["content-type"] == "application/json"


async def test_a_wrong_token_secret_does_not_pass_the_check(x_server, x_app):
    x_server.answers[SEND] = SENT

    await x_app.client_for(TOKEN, "another-secret").send_message("200", OutgoingContent("hi"))

    assert not x_server.calls[0].signed


async def test_an_attachment_goes_with_the_message(x_server, x_client):
    x_server.answers[SEND] = SENT

    await x_client.send_message("200", OutgoingContent("", "77"))

    assert orjson.loads(x_server.calls[0].body) == {"attachments": [{"media_id": "77"}]}


async def test_the_limits_of_an_answer_are_handed_on(x_server, x_client):
    headers = {"x-rate-limit-limit": "15", "x-rate-limit-remaining": "3", "x-rate-limit-reset": "1790000000"}
    x_server.answers[SEND] = says({"data": {"dm_event_id": "1", "dm_conversation_id": "c"}}, 201, headers)

    sent = await x_client.send_message("200", OutgoingContent("hi"))

    assert sent.headers.quarter_hour == ReportedWindow(15, 3, datetime.fromtimestamp(1790000000, UTC))


async def test_quick_replies_and_buttons_go_through_the_older_endpoint(x_server, x_client):
    x_server.answers[SEND_V1] = says({"event": {"id": "9002", "message_create": {"sender_id": "100"}}})

    sent = await x_client.send_message(
        "200",
        OutgoingContent(
            "Which?",
            "77",
            options=(QuickReply("Red", "A colour", "opt_red"), QuickReply("Blue")),
            buttons=(Button("Open", "https://shop.example"),),
        ),
    )

    assert (sent.event_id, sent.conversation_id) == ("9002", "100-200")
    (call,) = x_server.calls
    assert call.signed
    assert orjson.loads(call.body) == {
        "event": {
            "type": "message_create",
            "message_create": {
                "target": {"recipient_id": "200"},
                "message_data": {
                    "text": "Which?",
                    "attachment": {"type": "media", "media": {"id": "77"}},
                    "quick_reply": {
                        "type": "options",
                        "options": [
                            {"label": "Red", "description": "A colour", "metadata": "opt_red"},
                            {"label": "Blue"},
                        ],
                    },
                    "ctas": [{"type": "web_url", "label": "Open", "url": "https://shop.example"}],
                },
            },
        }
    }


@pytest.mark.parametrize("participant", ["", "../../1.1/oauth", "200/messages?x", "200 ", "a" * 65])
async def test_an_id_that_would_change_the_address_is_never_sent(x_server, x_client, participant):
    with pytest.raises(InvalidContent):
        await x_client.send_message(participant, OutgoingContent("hi"))
    with pytest.raises(InvalidContent):
        await x_client.messages_with(participant, 5)

    assert x_server.calls == []


# --- failures


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, {"errors": [{"code": 349, "message": "You cannot send messages to this user."}]}, FailureKind.RECIPIENT),
        (403, {"title": "Forbidden", "detail": "This operation is not permitted."}, FailureKind.ACCOUNT),
        (402, {"title": "CreditsDepleted"}, FailureKind.BILLING),
        (429, {"title": "Too Many Requests"}, FailureKind.RATE_LIMIT),
        (401, {"title": "Unauthorized"}, FailureKind.ACCOUNT),
        (403, [{"code": 93}], FailureKind.CONFIGURATION),
        (500, {}, FailureKind.AMBIGUOUS),
        (503, {"errors": [{"code": 130}]}, FailureKind.AMBIGUOUS),
        (201, {}, FailureKind.AMBIGUOUS),
        (201, {"data": {"dm_event_id": {}}}, FailureKind.AMBIGUOUS),
        (201, [], FailureKind.AMBIGUOUS),
        (200, {"errors": [{"code": 349}]}, FailureKind.RECIPIENT),
    ],
)
async def test_an_answer_that_is_no_success_is_classified(x_server, x_client, status, body, kind):
    x_server.answers[SEND] = says(body, status)

    assert (await failure_of(x_client.send_message("200", OutgoingContent("hi")))).kind is kind


@pytest.mark.parametrize(
    ("handler", "kind", "reason"),
    [
        (writes(b"<html>", 503), FailureKind.AMBIGUOUS, "x_unavailable"),
        (writes(b"not json", 201), FailureKind.AMBIGUOUS, "answer_unreadable"),
        (writes(b"x" * (MOST_ANSWER_BYTES + 1), 201), FailureKind.AMBIGUOUS, "x_connection_broken"),
        (hangs_up, FailureKind.AMBIGUOUS, "x_connection_broken"),
        (breaks_off(201), FailureKind.AMBIGUOUS, "x_connection_broken"),
        (breaks_off(403), FailureKind.MESSAGE, "refused"),
        (writes(b"", 302, {"Location": "/elsewhere"}), FailureKind.CONFIGURATION, "redirected"),
    ],
)
async def test_a_broken_answer_to_a_send_is_ambiguous_unless_it_was_refused(x_server, x_client, handler, kind, reason):
    x_server.answers[SEND] = handler

    found = await failure_of(x_client.send_message("200", OutgoingContent("hi")))

    assert (found.kind, found.reason) == (kind, reason)
    assert len(x_server.calls) == 1  # neither repeated nor redirected


async def test_a_send_that_is_never_answered_is_ambiguous(x_server, session):
    x_server.answers[SEND] = never_answers
    client = XApp(x_settings(x_server.url, timeout_s=0.3), session, SystemClock()).client_for(TOKEN, TOKEN_SECRET)

    found = await failure_of(client.send_message("200", OutgoingContent("hi")))

    assert (found.kind, found.reason) == (FailureKind.AMBIGUOUS, "x_timeout")


async def test_a_refused_connection_is_definitely_no_send(session):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        client = XApp(x_settings(url), session, SystemClock()).client_for(TOKEN, TOKEN_SECRET)

        found = await failure_of(client.send_message("200", OutgoingContent("hi")))

    assert (found.kind, found.reason) == (FailureKind.TEMPORARY, "x_unreachable")


async def test_a_failed_tls_handshake_is_definitely_no_send(x_server, session):
    url = x_server.url.replace("http:", "https:")
    client = XApp(x_settings(url), session, SystemClock()).client_for(TOKEN, TOKEN_SECRET)

    assert (await failure_of(client.send_message("200", OutgoingContent("hi")))).kind is FailureKind.TEMPORARY


async def test_reading_is_never_ambiguous(x_server, x_client):
    x_server.answers[LIST] = hangs_up
    assert (await failure_of(x_client.messages_with("200", 5))).kind is FailureKind.TEMPORARY

    x_server.answers[LIST] = says({}, 500)
    assert (await failure_of(x_client.messages_with("200", 5))).kind is FailureKind.TEMPORARY


async def test_an_error_carries_what_x_said_and_survives_the_way_between_processes(x_server, x_client):
    headers = {
        "retry-after": "30",
        "x-rate-limit-limit": "15",
        "x-rate-limit-remaining": "0",
        "x-rate-limit-reset": "1790000000",
    }
    x_server.answers[SEND] = says({"errors": [{"code": 88, "message": "Rate limit exceeded"}]}, 429, headers)

    with pytest.raises(XApiError) as refused:
        await x_client.send_message("200", OutgoingContent("hi"))

    for error in (refused.value, pickle.loads(pickle.dumps(refused.value))):
        assert (error.code, error.http_status) == ("TWITTER_API_ERROR", 502)
        assert error.details == {"reason": "rate_limited", "code": 88, "text": "Rate limit exceeded"}
        assert (error.x_status, error.retry_after_s) == (429, 30)
        assert error.limits.quarter_hour.limit == 15


# --- reading


async def test_the_accounts_own_name_is_read(x_server, x_client):
    x_server.answers["GET /2/users/me"] = says(
        {"data": {"id": "100", "username": "brand", "name": "Brand", "profile_image_url": "https://pbs.example/b.png"}}
    )

    assert await x_client.me() == XUser("100", "brand", "Brand", "https://pbs.example/b.png")
    assert x_server.calls[0].signed
    assert x_server.calls[0].query == {"user.fields": "profile_image_url"}


@pytest.mark.parametrize("data", [None, [], {}, {"id": "100"}, {"id": {}, "username": "x"}, {"id": "1", "username": 5}])
async def test_an_account_that_can_not_be_read_is_an_error(x_server, x_client, data):
    x_server.answers["GET /2/users/me"] = says({"data": data})

    await failure_of(x_client.me())


async def test_messages_are_read_page_by_page_up_to_the_limit(x_server, x_client):
    def page(ids, token=None):
        events = [
            {
                "id": str(number),
                "event_type": "MessageCreate",
                "sender_id": "200",
                "text": f"text {number}",
                "created_at": "2026-11-02T10:00:00.123Z",
            }
            for number in ids
        ]
        return says({"data": events, "meta": {"next_token": token} if token else {}})

    x_server.answers[LIST] = [page([5, 4], "a:b/c=="), page([3, 2]), page([1])]

    messages = await x_client.messages_with("200", 3)

    assert [message.id for message in messages] == ["5", "4", "3"]
    assert messages[0] == XMessage("5", "200", "text 5", datetime(2026, 11, 2, 10, 0, 0, 123000, tzinfo=UTC))
    assert [call.query.get("pagination_token") for call in x_server.calls] == [None, "a:b/c=="]
    assert all(call.signed for call in x_server.calls)


async def test_an_x_that_no_longer_knows_the_senders_field_is_asked_without_it(x_server, x_client):
    x_server.answers[LIST] = [
        says({"title": "Invalid Request"}, 400),
        says({"data": [{"id": "1", "sender_id": "200"}]}),
    ]

    assert [message.sender_id for message in await x_client.messages_with("200", 5)] == ["200"]
    assert ["sender_id" in call.query["dm_event.fields"] for call in x_server.calls] == [True, False]
    assert {call.query["expansions"] for call in x_server.calls} == {"sender_id"}


async def test_events_that_are_no_messages_are_left_out(x_server, x_client):
    events = ["x", {}, {"id": "1", "event_type": "ParticipantsJoin"}, {"id": "2", "text": 5}, {"id": "3", "text": "hi"}]
    x_server.answers[LIST] = says({"data": events})

    assert await x_client.messages_with("200", 10) == [XMessage("3", "", "hi", None)]


async def test_a_conversation_without_messages_is_empty(x_server, x_client):
    x_server.answers[LIST] = says({"meta": {"result_count": 0}})

    assert await x_client.messages_with("200", 10) == []


async def test_the_tokens_revoke_themselves(x_server, x_client):
    x_server.answers["POST /1.1/oauth/invalidate_token.json"] = says({"access_token": TOKEN})

    await x_client.invalidate_token()

    assert x_server.calls[0].signed


# --- uploads

UPLOAD = "POST /2/media/upload"


async def test_a_small_image_is_uploaded_in_one_call(x_server, x_client):
    x_server.answers[UPLOAD] = says({"data": {"id": "77", "media_key": "3_77"}})

    assert await x_client.upload_media(media_file(b"PNG-bytes", "image/png", "dm_image")) == "77"

    (call,) = x_server.calls
    assert call.signed
    assert call.headers["content-type"].startswith("multipart/form-data")
    assert b"PNG-bytes" in call.body
    assert b"dm_image" in call.body


async def test_a_video_is_uploaded_in_segments_and_waited_for(x_server, x_client):
    def state(name):
        return says({"data": {"id": "78", "processing_info": {"state": name, "check_after_secs": 0}}})

    x_server.answers |= {
        "POST /2/media/upload/initialize": says({"data": {"id": "78"}}),
        "POST /2/media/upload/78/append": says({}),
        "POST /2/media/upload/78/finalize": state("pending"),
        "GET /2/media/upload": [state("in_progress"), state("succeeded")],
    }
    content = bytes(2 * 1024 * 1024) + b"end"

    assert await x_client.upload_media(media_file(content, "video/mp4", "dm_video")) == "78"

    paths = [call.path.removeprefix("/2/media/upload") for call in x_server.calls]
    assert paths == ["/initialize", "/78/append", "/78/append", "/78/append", "/78/finalize", "", ""]
    assert all(call.signed for call in x_server.calls)
    assert [f'name="segment_index"\r\n\r\n{n}\r\n'.encode() in x_server.calls[1 + n].body for n in range(3)] == [
        True
    ] * 3
    assert b"end\r\n" in x_server.calls[3].body


async def test_media_that_x_can_not_process_is_the_messages_failure(x_server, x_client):
    info = {"state": "failed", "error": {"message": "unsupported codec"}}
    x_server.answers[UPLOAD] = says({"data": {"id": "77", "processing_info": info}})

    found = await failure_of(x_client.upload_media(media_file(b"x", "image/png", "dm_image")))

    assert (found.kind, found.x_text) == (FailureKind.MESSAGE, "unsupported codec")


@pytest.mark.parametrize(("content", "category"), [(b"", "dm_image"), (b"x", "tweet_image")])
async def test_media_of_another_category_is_not_uploaded(x_server, x_client, content, category):
    with pytest.raises(InvalidContent):
        await x_client.upload_media(media_file(content, "image/png", category))

    assert x_server.calls == []


# --- what must not happen


async def test_no_log_line_holds_a_token_or_a_header(x_server, x_client, caplog):
    x_server.answers[SEND] = SENT
    with caplog.at_level(logging.DEBUG):
        await x_client.send_message("200", OutgoingContent("a private word"))

    for secret in (TOKEN, TOKEN_SECRET, "Authorization", "a private word"):
        assert secret not in caplog.text


async def test_calls_at_the_same_time_do_not_disturb_each_other(x_server, x_app):
    for number in range(20):
        x_server.answers[f"POST /2/dm_conversations/with/{number}/messages"] = says(
            {"data": {"dm_event_id": str(number), "dm_conversation_id": "c"}}, 201
        )
    client = x_app.client_for(TOKEN, TOKEN_SECRET)

    sent = await asyncio.gather(*(client.send_message(str(number), OutgoingContent("hi")) for number in range(20)))

    assert [message.event_id for message in sent] == [str(number) for number in range(20)]
    assert all(call.signed for call in x_server.calls)


async def test_the_apps_bearer_token_is_never_used_for_an_account(x_client):
    with pytest.raises(ValueError, match="account"):
        await x_client.get_me(user_auth=False)
