from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from gateway.models.base import AnswerModel, DocumentId, InputModel
from gateway.models.paging import Paging


class NoteQuery(Paging):
    """Which part of a conversation's notes is asked for."""


class NoteText(InputModel):
    """What people of the merchant are to know about a conversation."""

    text: Annotated[str, Field(min_length=1, max_length=10_000, pattern=r"\S", examples=["Wants a refund by Friday."])]


class NoteAnswer(AnswerModel):
    """What somebody noted about a conversation; customers never see it."""

    id: DocumentId
    conversation_id: str
    author_user_id: str
    text: str
    created_at: datetime
    updated_at: datetime
