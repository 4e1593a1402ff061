"""What an API key may be kept to: a scope is an area of the API and `read` or `write`, as `contacts:read`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

#: The first part of the paths of the API; the search of messages belongs to the conversations.
AREAS: Final = (
    "accounts",
    "ai",
    "analytics",
    "api-keys",
    "audit",
    "automation",
    "campaigns",
    "contacts",
    "conversations",
    "events",
    "segments",
    "templates",
    "users",
    "webhook-endpoints",
)
SCOPES: Final = tuple(f"{area}:{right}" for area in AREAS for right in ("read", "write"))


def is_within(scopes: Collection[str], needed: str) -> bool:
    """Whether some scopes contain the one that is needed: who may write in an area may read there too."""
    area, _, right = needed.partition(":")
    return needed in scopes or (right == "read" and f"{area}:write" in scopes)
