from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.webhook_signature import secret_of, signed_headers
from tests.standard_webhooks import WrongSignature, verified

NOW = datetime(2026, 11, 2, 8, 30, 15, 250_000, tzinfo=UTC)
SECRETS = st.binary(min_size=24, max_size=64).map(secret_of)


def test_the_example_that_the_libraries_of_the_scheme_are_tested_with() -> None:
    secret, at = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", datetime.fromtimestamp(1614265330, UTC)
    headers = signed_headers([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", at, b'{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(st.lists(SECRETS, min_size=1, max_size=3, unique=True), st.binary(max_size=200), st.uuids().map(str))
def test_whoever_knows_one_of_the_secrets_can_verify(secrets: list[str], body: bytes, webhook_id: str) -> None:
    headers = signed_headers(secrets, webhook_id, NOW, body)
    for secret in secrets:
        assert verified(secret, headers, body, NOW) == webhook_id


@given(SECRETS, SECRETS, st.binary(min_size=1, max_size=50))
def test_nothing_else_verifies(secret: str, other: str, body: bytes) -> None:
    headers = signed_headers([secret], "an-id", NOW, body)
    changes: list[dict[str, str]] = [{"webhook-id": "another"}, {"webhook-timestamp": str(int(NOW.timestamp()) + 1)}]
    for change in changes:
        with pytest.raises(WrongSignature):
            verified(secret, headers | change, body, NOW)
    with pytest.raises(WrongSignature):
        verified(secret, headers, body + b" ", NOW)
    if other != secret:
        with pytest.raises(WrongSignature):
            verified(other, headers, body, NOW)
