from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.x_errors import FailureKind, broken_connection, classify
from domain.x_rate_headers import RateHeaders, ReportedWindow, rate_headers

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def v1(code, message="text of X"):
    return {"errors": [{"code": code, "message": message}]}


def v2(detail, title="Forbidden", kind="about:blank", **rest):
    return {"title": title, "detail": detail, "type": kind, **rest}


def limits(remaining=0, reset=NOW + timedelta(minutes=5)):
    return {
        "x-rate-limit-limit": "15",
        "x-rate-limit-remaining": str(remaining),
        "x-rate-limit-reset": str(int(reset.timestamp())),
    }


def failure(status, body, headers=None, *, send=True):
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return classify(status, content, headers or {}, NOW, send=send)


ROWS = [
    (403, v1(349), FailureKind.RECIPIENT, "recipient_refuses_messages"),
    (403, v1(150), FailureKind.RECIPIENT, "recipient_refuses_messages"),
    (403, v1(151, "There was an error sending your message: reason"), FailureKind.MESSAGE, "refused"),
    (403, v1(151, "Whoops! You already said that."), FailureKind.MESSAGE, "duplicate_message"),
    (403, v1(354), FailureKind.MESSAGE, "message_too_long"),
    (403, v1(226), FailureKind.ACCOUNT, "looks_automated"),
    (403, v1(326), FailureKind.ACCOUNT, "account_locked"),
    (403, v1(64), FailureKind.ACCOUNT, "account_suspended"),
    (403, v1(63), FailureKind.RECIPIENT, "recipient_suspended"),
    (404, v1(50), FailureKind.RECIPIENT, "recipient_not_found"),
    (401, v1(32), FailureKind.CONFIGURATION, "authentication_failed"),
    (401, v1(135), FailureKind.CONFIGURATION, "clock_skewed"),
    (401, v1(89), FailureKind.ACCOUNT, "tokens_refused"),
    (403, v1(89), FailureKind.ACCOUNT, "tokens_refused"),
    (403, v1(93), FailureKind.CONFIGURATION, "app_not_permitted"),
    (403, v1(220), FailureKind.CONFIGURATION, "app_not_permitted"),
    (403, v1(261), FailureKind.CONFIGURATION, "app_not_permitted"),
    (403, v1(87), FailureKind.CONFIGURATION, "app_not_permitted"),
    (403, v1(99), FailureKind.CONFIGURATION, "app_not_permitted"),
    (429, v1(88), FailureKind.RATE_LIMIT, "rate_limited"),
    (503, v1(130), FailureKind.AMBIGUOUS, "x_unavailable"),
    (500, v1(131), FailureKind.AMBIGUOUS, "x_unavailable"),
    (400, v1(324), FailureKind.MESSAGE, "media_refused"),
    (400, v1(325), FailureKind.MESSAGE, "media_refused"),
    (403, v1(476), FailureKind.ACCOUNT, "account_not_verified"),
    (403, v1(355), FailureKind.CONFIGURATION, "already_subscribed"),
    (
        403,
        v2("You do not have permission to DM one or more participants."),
        FailureKind.RECIPIENT,
        "recipient_refuses_messages",
    ),
    (403, v2("This operation is not permitted."), FailureKind.ACCOUNT, "operation_not_permitted"),
    (403, v2("You are not permitted to attach this media to a DM event."), FailureKind.MESSAGE, "media_refused"),
    (
        403,
        v2("Your client app is not configured with the appropriate oauth1 app permissions for this endpoint."),
        FailureKind.CONFIGURATION,
        "app_not_permitted",
    ),
    (
        402,
        v2("You have no credits.", title="CreditsDepleted"),
        FailureKind.BILLING,
        "credits_depleted",
    ),
    (402, b"", FailureKind.BILLING, "payment_required"),
    (401, v2("Unauthorized", title="Unauthorized"), FailureKind.ACCOUNT, "tokens_refused"),
    (404, v2("User not found", title="Not Found Error"), FailureKind.RECIPIENT, "not_found"),
    (400, v2("One or more parameters was invalid.", title="Invalid Request"), FailureKind.MESSAGE, "refused"),
    (403, v2("Something new."), FailureKind.MESSAGE, "refused"),
    (400, {"errors": [{"title": "DuplicateSubscriptionFailed"}]}, FailureKind.CONFIGURATION, "already_subscribed"),
    (302, b"", FailureKind.CONFIGURATION, "redirected"),
    (408, b"", FailureKind.AMBIGUOUS, "x_unavailable"),
    (502, b"<html>Bad gateway</html>", FailureKind.AMBIGUOUS, "x_unavailable"),
    (200, {"errors": [{"title": "Odd"}]}, FailureKind.AMBIGUOUS, "answer_unreadable"),
    (200, v1(349), FailureKind.RECIPIENT, "recipient_refuses_messages"),
    (403, [{"code": 349, "message": "list"}], FailureKind.RECIPIENT, "recipient_refuses_messages"),
    (403, {"errors": {"code": "349"}}, FailureKind.RECIPIENT, "recipient_refuses_messages"),
    (403, {"error": "Your account is suspended and is not permitted"}, FailureKind.ACCOUNT, "account_suspended"),
]


@pytest.mark.parametrize(("status", "body", "kind", "reason"), ROWS)
def test_each_row_of_the_table_has_its_kind(status, body, kind, reason):
    found = failure(status, body)

    assert (found.kind, found.reason) == (kind, reason)


def test_the_code_and_text_of_x_are_kept():
    found = failure(403, v1(349, "You cannot send messages to this user."))

    assert (found.x_code, found.x_text) == (349, "You cannot send messages to this user.")
    assert failure(403, v2("In words.")).x_text == "In words."


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
def test_only_a_send_can_be_ambiguous(status):
    assert failure(status, b"", send=True).kind is FailureKind.AMBIGUOUS
    assert failure(status, b"", send=False).kind is FailureKind.TEMPORARY


@pytest.mark.parametrize(
    ("written", "send", "kind"),
    [
        (False, True, FailureKind.TEMPORARY),
        (True, True, FailureKind.AMBIGUOUS),
        (False, False, FailureKind.TEMPORARY),
        (True, False, FailureKind.TEMPORARY),
    ],
)
def test_a_broken_connection_is_ambiguous_only_once_a_send_was_written(written, send, kind):
    assert broken_connection(written=written, send=send, reason="x_timeout").kind is kind


@pytest.mark.parametrize("told", [{"title": "UsageCapExceeded"}, {"type": "https://api.x.com/2/problems/usage-capped"}])
def test_a_spent_budget_with_calls_left_is_billing_and_no_rate_limit(told):
    body = {"title": "Too Many Requests", "detail": "Usage cap exceeded"} | told

    assert failure(429, body, limits(remaining=7)).kind is FailureKind.BILLING
    assert failure(429, body).kind is FailureKind.BILLING
    assert failure(429, body, limits(remaining=0)).kind is FailureKind.RATE_LIMIT


def test_a_rate_limit_tells_when_the_window_that_is_full_starts_anew():
    day = NOW + timedelta(hours=3)
    headers = limits(remaining=4) | {
        "x-user-limit-24hour-limit": "1440",
        "x-user-limit-24hour-remaining": "0",
        "x-user-limit-24hour-reset": str(int(day.timestamp())),
    }

    assert failure(429, v1(88), headers).reset_at == day
    assert failure(429, v1(88), limits()).reset_at == NOW + timedelta(minutes=5)
    assert failure(429, v1(88)).reset_at is None


def test_an_absurd_reset_is_never_more_than_a_day_away():
    assert failure(429, b"", limits(reset=NOW + timedelta(days=900))).reset_at == NOW + timedelta(hours=25)
    assert failure(429, b"", limits(reset=NOW - timedelta(days=900))).reset_at == NOW


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("x", None), ("-1", None), ("9" * 30, None), ("900000", 90000)]
)
def test_retry_after_is_read_in_seconds_and_bounded(text, seconds):
    assert failure(429, b"", {"retry-after": text}).retry_after_s == seconds


@given(
    status=st.integers(200, 599),
    body=st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=10),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["errors", "error", "code", "message", "title", "detail", "x"]), inner
                )
            ),
        ),
    ),
    headers=st.dictionaries(
        st.sampled_from([*limits(), "retry-after"]), st.one_of(st.text(max_size=12), st.integers(0, 10**12).map(str))
    ),
    send=st.booleans(),
)
def test_every_answer_is_some_failure(status, body, headers, send):
    found = failure(status, body, headers, send=send)

    assert found.reason
    assert len(found.x_text) <= 500
    assert send or found.kind is not FailureKind.AMBIGUOUS
    assert status < 500 or found.kind in {FailureKind.AMBIGUOUS, FailureKind.TEMPORARY}


def test_the_headers_of_all_three_windows_are_read():
    reset = NOW + timedelta(minutes=5)
    headers = limits(remaining=3) | {
        name.replace("x-rate-limit", prefix): value
        for prefix in ("x-user-limit-24hour", "x-app-limit-24hour")
        for name, value in limits(remaining=9).items()
    }

    assert rate_headers(headers) == RateHeaders(
        quarter_hour=ReportedWindow(15, 3, reset),
        user_day=ReportedWindow(15, 9, reset),
        app_day=ReportedWindow(15, 9, reset),
    )


@pytest.mark.parametrize("name", list(limits()))
@pytest.mark.parametrize("value", [None, "", "x", "-1", "1.5", "9" * 12, "\u0661"])
def test_a_window_with_a_header_missing_or_malformed_counts_as_not_reported(name, value):
    headers = limits() | {name: value}

    assert rate_headers({k: v for k, v in headers.items() if v is not None}) == RateHeaders()
