"""What an actor is: an object found by (kind, key) that takes one message at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class Actor:
    """Base of every actor.

    An actor exists as soon as it is called and is found by its kind and key. Its public coroutine methods are its
    messages. They run one at a time, in arrival order; actors with other keys run beside it.

    Invariants that the runtime keeps:

    - `on_activate` ends before the first message is taken; if it fails, no message sees the object;
    - a method that returns an `asyncio.Future` ends its turn at once, and the caller's answer is the future's result:
      this is how an actor waits for the world without keeping others waiting;
    - an actor that is `busy` stays in memory; any other may leave it whenever it has no message.

    What an actor must keep: its methods are idempotent, since a caller repeats a call whose outcome it could not learn;
    and what must survive is written in the turn that changes it, since nothing is saved on the way out.
    """

    kind: ClassVar[str]

    def __init__(self, key: str) -> None:
        self.key = key

    async def on_activate(self) -> None:
        """Load what the actor needs; called once, before the first message."""

    def on_deactivate(self) -> None:
        """Let go of what the actor holds; called when it leaves memory, not when its process dies."""

    async def on_reminder(self, name: str, payload: Mapping[str, object]) -> None:
        """Take a reminder that is due; may come more than once."""

    async def drain(self) -> None:
        """Bring work under way to a point where it may stop; called when the host is about to stop."""

    def busy(self) -> bool:
        """Return whether the actor has work under way that keeps it in memory."""
        return False


#: Names that are not messages although they are public.
NOT_MESSAGES = frozenset({"key", "kind", "on_activate", "on_deactivate", "busy", "drain"})
