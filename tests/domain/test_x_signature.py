from __future__ import annotations

import base64
import hashlib
import hmac

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidRequest
from domain.x_signature import crc_answer, is_signed, sign

SECRET, OLD = b"consumer-secret", b"former-secret"
BODY = b'{"for_user_id":"100"}'


def test_the_signature_is_the_published_vector():
    # RFC 4231, test case 2.
    expected = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")

    assert sign(b"Jefe", b"what do ya want for nothing?") == "sha256=" + base64.b64encode(expected).decode()


@given(secret=st.binary(min_size=1), body=st.binary())
def test_what_was_signed_is_accepted(secret, body):
    digest = hmac.new(secret, body, hashlib.sha256).digest()

    assert is_signed(body, "sha256=" + base64.b64encode(digest).decode(), [b"another", secret])


@given(st.integers(0, len(BODY) * 8 - 1))
def test_a_body_with_one_bit_changed_is_refused(bit):
    changed = bytearray(BODY)
    changed[bit // 8] ^= 1 << bit % 8

    assert not is_signed(bytes(changed), sign(SECRET, BODY), [SECRET])


def test_any_live_secret_is_accepted_and_no_other():
    assert is_signed(BODY, sign(OLD, BODY), [SECRET, OLD])
    assert is_signed(BODY, sign(SECRET, BODY), [SECRET, OLD])
    assert not is_signed(BODY, sign(b"stranger", BODY), [SECRET, OLD])


def test_without_a_secret_nothing_is_signed():
    assert not is_signed(BODY, sign(SECRET, BODY), [])
    assert not is_signed(BODY, sign(b"", BODY), [b""])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good: None,
        lambda good: "",
        lambda good: good.removeprefix("sha256="),
        lambda good: good.upper(),
        lambda good: good.replace("sha256", "sha1"),
        lambda good: good.replace("sha256", "SHA256"),
        lambda good: good + "\n",
        lambda good: " " + good,
        lambda good: good[:-1],
        lambda good: good + "=",
        lambda good: good[:-2] + "é=",
        lambda good: "sha256=" + "é" * 44,
        lambda good: "sha256=" + base64.b64decode(good[7:]).hex(),
        lambda good: good + ", " + good,
    ],
)
def test_a_malformed_header_is_refused(spoil):
    assert not is_signed(BODY, spoil(sign(SECRET, BODY)), [SECRET])


def test_the_challenge_is_answered_with_its_signature():
    assert crc_answer(SECRET, "aB3+/_-=") == sign(SECRET, b"aB3+/_-=")
    assert crc_answer(SECRET, "a" * 256) == sign(SECRET, b"a" * 256)


@pytest.mark.parametrize(
    "token",
    ["", "a" * 257, "a b", "a\n", "a.b", "é", "\x00", "{}", '{"for_user_id":"1"}', "[1]", '"x"', "a%20", "\u0661"],
)
def test_a_challenge_that_could_be_a_body_is_not_signed(token):
    with pytest.raises(InvalidRequest) as refused:
        crc_answer(SECRET, token)

    assert refused.value.http_status == 400


@given(st.dictionaries(st.text(), st.text()).map(lambda value: orjson.dumps(value).decode()))
def test_no_json_object_is_ever_signed_as_a_challenge(body):
    with pytest.raises(InvalidRequest):
        crc_answer(SECRET, body)
