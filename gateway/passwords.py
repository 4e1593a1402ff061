from __future__ import annotations

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from domain.errors import InvalidContent, Problem

#: Characters of a password that a person chooses: length makes it hard to guess, a mixture of kinds hard to keep.
SHORTEST = 12
#: Longer ones would only make hashing slow.
LONGEST = 1024
_FEWEST_DIFFERENT = 5

#: A hash takes 64 MiB and a core for its time; more at once would starve everything else.
_AT_ONCE = 2


def check_strength(password: str, email: str) -> None:
    """Check a password that a person has chosen: long enough, and not easily guessed from the address.

    Raises:
        InvalidContent: when it is too weak.
    """
    reason = ""
    if len(password) < SHORTEST:
        reason = f"must have at least {SHORTEST} characters"
    elif len(set(password)) < _FEWEST_DIFFERENT:
        reason = f"must have at least {_FEWEST_DIFFERENT} different characters"
    elif (
        email.lower().partition("@")[0] in password.lower() and len(password) - len(email.partition("@")[0]) < SHORTEST
    ):
        reason = f"must have at least {SHORTEST} characters beside the name in the address"
    if reason:
        raise InvalidContent("The password is too weak", problems=(Problem("newPassword", reason),))


class Passwords:
    """Argon2id, in a thread, with the same work for accounts that exist and those that don't."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._nobody = self._hasher.hash("nobody has this password")
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def hash(self, password: str) -> str:
        """Return a hash to be stored."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether the password belongs to the hash; `None` costs the same and is never true."""
        async with self._slots:
            holds = await asyncio.to_thread(self._verify, password, password_hash or self._nobody)
        return holds and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Whether the hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(password_hash)

    def _verify(self, password: str, password_hash: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except VerificationError:
            return False
