from __future__ import annotations

import base64
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from config.settings import Settings
from storage.encryption import CannotOpen, KeyRing, Place, WrongKey, key_ring

PLACE = Place("accounts", "one", "oauthToken")


@given(st.text())
def test_what_was_sealed_is_opened_at_its_place(secret: str) -> None:
    ring = KeyRing(os.urandom(32))
    assert ring.open(ring.seal(secret, PLACE), PLACE) == secret


@pytest.mark.parametrize("change", [{"collection": "users"}, {"id": "two"}, {"field": "oauthTokenSecret"}])
def test_what_was_moved_elsewhere_can_t_be_opened(change: dict[str, str]) -> None:
    ring = KeyRing(os.urandom(32))
    sealed = ring.seal("secret", PLACE)
    with pytest.raises(CannotOpen):
        ring.open(sealed, replace(PLACE, **change))


def test_what_was_changed_anywhere_can_t_be_opened() -> None:
    ring = KeyRing(os.urandom(32))
    sealed = ring.seal("secret", PLACE)
    for position, character in enumerate(sealed):
        changed = sealed[:position] + ("A" if character != "A" else "B") + sealed[position + 1 :]
        try:
            opened = ring.open(changed, PLACE)
        except CannotOpen:
            continue
        # The last characters of base64 hold bits that are not used.
        assert opened == "secret"
        assert position in {len(sealed) - 1, sealed.rindex(".") - 1}


@pytest.mark.parametrize("text", ["", "v1", "v1...", "v2.a.b.c", "plain", "....", "v1.é.é.é"])
def test_what_is_no_sealed_value_can_t_be_opened(text: str) -> None:
    with pytest.raises(CannotOpen):
        KeyRing(os.urandom(32)).open(text, PLACE)


def test_former_keys_still_open_and_the_present_one_seals() -> None:
    old, new = os.urandom(32), os.urandom(32)
    sealed = KeyRing(old).seal("secret", PLACE)
    ring = KeyRing(new, [old])
    assert ring.open(sealed, PLACE) == "secret"
    assert not ring.is_present(sealed)
    assert ring.is_present(ring.seal("secret", PLACE))
    with pytest.raises(CannotOpen):
        KeyRing(new).open(sealed, PLACE)


def test_the_same_secret_never_looks_the_same() -> None:
    ring = KeyRing(os.urandom(32))
    assert ring.seal("secret", PLACE) != ring.seal("secret", PLACE)
    assert "secret" not in ring.seal("secret", PLACE)


def test_keys_come_from_the_settings() -> None:
    old, new = os.urandom(32), os.urandom(32)
    settings = Settings(
        encryption_key=SecretStr(base64.b64encode(new).decode()),
        encryption_keys_old=SecretStr(f" {base64.urlsafe_b64encode(old).decode()} ,"),
    )
    assert key_ring(settings).open(KeyRing(old).seal("secret", PLACE), PLACE) == "secret"


@pytest.mark.parametrize("text", ["", "short", "c2hvcnQ=", "*" * 44])
def test_a_wrong_key_is_named_but_not_shown(text: str) -> None:
    with pytest.raises(WrongKey, match="MKTX_ENCRYPTION_KEY") as raised:
        key_ring(Settings(encryption_key=SecretStr(text)))
    assert not text or text not in str(raised.value)
