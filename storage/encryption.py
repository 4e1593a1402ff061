"""Secrets at rest: AES-256-GCM with a key ring.

A sealed value reads `v1.<key id>.<nonce>.<ciphertext>` (base64url without padding). The place where it is kept
(collection, document id, field) is authenticated with it, so a value that is moved elsewhere can't be opened.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from config.settings import Settings

_VERSION = "v1"
_KEY_BYTES = 32
_NONCE_BYTES = 12


class WrongKey(Exception):
    """A key is not base64 of 32 bytes; the text names the setting, never the key."""


class CannotOpen(Exception):
    """A sealed value is broken, was moved, or its key is not in the ring."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a secret is kept."""

    collection: str
    id: str
    field: str

    @property
    def bound(self) -> bytes:
        """The bytes that are authenticated with the secret."""
        return f"{self.collection}|{self.id}|{self.field}".encode()


class KeyRing:
    """Seals with the present key, opens with the present and former ones."""

    def __init__(self, present: bytes, former: Sequence[bytes] = ()) -> None:
        self._present = _key_id(present)
        self._ciphers = {_key_id(key): AESGCM(key) for key in (present, *former)}

    def seal(self, secret: str, place: Place) -> str:
        """Return the secret as it may be stored at a place."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._present].encrypt(nonce, secret.encode(), place.bound)
        return ".".join((_VERSION, self._present, _encode(nonce), _encode(sealed)))

    def open(self, sealed: str, place: Place) -> str:
        """Return the secret that was stored at a place.

        Raises:
            CannotOpen: when it is broken, belongs elsewhere, or its key is unknown.
        """
        try:
            version, key_id, nonce, ciphertext = sealed.split(".")
            cipher = self._ciphers[key_id]
            if version != _VERSION:
                raise CannotOpen(f"unknown version of a sealed value at {place.collection}.{place.field}")
            return cipher.decrypt(_decode(nonce), _decode(ciphertext), place.bound).decode()
        except (ValueError, KeyError, InvalidTag) as error:
            raise CannotOpen(f"a sealed value at {place.collection}.{place.field} can't be opened") from error

    def is_present(self, sealed: str) -> bool:
        """Whether the value was sealed with the present key; where not, it is due to be sealed anew."""
        return sealed.startswith(f"{_VERSION}.{self._present}.")


def key_ring(settings: Settings) -> KeyRing:
    """Return the key ring of the settings.

    Raises:
        WrongKey: naming the setting that is no key.
    """
    present = _read_key(settings.encryption_key.get_secret_value(), "MKTX_ENCRYPTION_KEY")
    former = [
        _read_key(text.strip(), "MKTX_ENCRYPTION_KEYS_OLD")
        for text in settings.encryption_keys_old.get_secret_value().split(",")
        if text.strip()
    ]
    return KeyRing(present, former)


def _read_key(text: str, setting: str) -> bytes:
    try:
        key = base64.b64decode(text, altchars=b"-_" if {"-", "_"} & set(text) else None, validate=True)
    except binascii.Error as error:
        raise WrongKey(f"{setting}: not base64") from error
    if len(key) != _KEY_BYTES:
        raise WrongKey(f"{setting}: must be {_KEY_BYTES} bytes, is {len(key)}")
    return key


def _key_id(key: bytes) -> str:
    return sha256(b"mktx key id|" + key).hexdigest()[:12]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
