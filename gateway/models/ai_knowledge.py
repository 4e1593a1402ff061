from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from domain.dialogue_knowledge import LONGEST_TEXT, LONGEST_TITLE
from gateway.models.base import AnswerModel, DocumentId, InputModel


def _says_something(text: str) -> str:
    if not text.strip():
        raise ValueError("says nothing")
    return text


_Title = Annotated[str, Field(min_length=1, max_length=LONGEST_TITLE), AfterValidator(_says_something)]
_Text = Annotated[str, Field(min_length=1, max_length=LONGEST_TEXT), AfterValidator(_says_something)]


class CreateSnippet(InputModel):
    """Something that the chatbot is to know."""

    title: _Title
    text: _Text


class ChangeSnippet(InputModel):
    """What to change; what isn't given stays."""

    title: _Title = ""
    text: _Text = ""


class SnippetAnswer(AnswerModel):
    """Something that the chatbot knows."""

    id: DocumentId
    title: str
    text: str
    created_at: datetime
    updated_at: datetime
