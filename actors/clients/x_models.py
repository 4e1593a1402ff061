"""What the X client takes and gives: X's own objects, cut down to what the gateway uses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.x_rate_headers import RateHeaders


@dataclass(frozen=True, slots=True)
class XUser:
    """A person or business on X."""

    id: str
    username: str
    name: str
    profile_image_url: str


@dataclass(frozen=True, slots=True)
class XMessage:
    """A direct message in X's own list; `created_at` and `conversation_id` are empty where X does not say."""

    id: str
    sender_id: str
    text: str
    created_at: datetime | None
    conversation_id: str = ""


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message that X has taken, and what its answer said of the limits."""

    event_id: str
    conversation_id: str
    headers: RateHeaders


@dataclass(frozen=True, slots=True)
class XWebhook:
    """A webhook as X has it registered; X sends events only while it is `valid`."""

    id: str
    url: str
    valid: bool
