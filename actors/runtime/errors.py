"""What can go wrong between a caller and an actor.

Unavailable (domain)
├── CallExpired     the deadline passed; whether the call took effect is not known
├── HostGone        the host's process is not there (used inside the runtime: callers are retried, then see CallExpired)
└── Fenced          another host has taken over this actor; the call may be repeated
ActorFailed         the actor raised something that is no error of ours; logged where it happened
"""

from __future__ import annotations

from domain.errors import MktxError, Unavailable


class CallExpired(Unavailable):
    """No answer came in time; the outcome is unknown."""


class HostGone(Unavailable):
    """The host process is not there."""


class Fenced(Unavailable):
    """A later epoch owns this actor's document."""


class ActorFailed(MktxError):
    """The actor broke; the caller learns no more than that."""
