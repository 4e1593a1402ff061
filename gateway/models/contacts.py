from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from gateway.models.base import AnswerModel, DocumentId
from gateway.models.paging import Paging

_MOST_TAGS = 100


class ContactQuery(Paging):
    """Which contacts are asked for: all conditions hold."""

    account_id: str | None = None
    tags: Annotated[str, Field(max_length=65 * _MOST_TAGS, description="Comma-separated; all must be there.")] = ""
    search: Annotated[str, Field(max_length=100, description="Beginnings of words of the names.")] = ""

    @property
    def wanted_tags(self) -> tuple[str, ...]:
        """The tags, as they are stored: lower case."""
        return tuple(dict.fromkeys(tag for text in self.tags.split(",") if (tag := text.strip().lower())))


class ConsentAnswer(AnswerModel):
    """What the contact agreed to."""

    state: str
    at: datetime | None
    source: str | None


class ContactAnswer(AnswerModel):
    """A person on X, as one account knows them."""

    id: DocumentId
    account_id: str
    twitter_user_id: str
    username: str | None
    display_name: str | None
    profile_image_url: str | None
    tags: list[str]
    attributes: dict[str, object]
    consent: ConsentAnswer
    conversation_count: int
    first_interaction_at: datetime | None
    last_interaction_at: datetime | None


class Engagement(AnswerModel):
    """How much was said, and how fast the merchant answers on average."""

    messages_sent: int
    messages_received: int
    average_response_time: str | None


class ContactDetails(ContactAnswer):
    """A person on X with where they came from and how much was said."""

    source: str
    engagement: Engagement
