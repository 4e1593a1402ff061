from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from domain.contact_fields import LONGEST_TEXT, MOST_ENTRIES
from domain.templates import (
    LONGEST_CONTENT,
    LONGEST_DESCRIPTION,
    LONGEST_LABEL,
    LONGEST_METADATA,
    LONGEST_URL,
    MOST_BUTTONS,
    MOST_OPTIONS,
    MOST_VARIABLES,
    VARIABLE_NAME,
)
from gateway.models.base import AnswerModel, DocumentId, InputModel
from gateway.models.names import Name
from gateway.models.paging import Paging

TemplateTypeName = Literal["text", "quick_reply", "card"]

Content = Annotated[
    str, Field(min_length=1, max_length=LONGEST_CONTENT, description="Liquid.", examples=["Hello {{name}}!"])
]
VariableName = Annotated[str, Field(pattern=f"^{VARIABLE_NAME}$")]
Variables = Annotated[
    list[VariableName],
    Field(
        max_length=MOST_VARIABLES,
        description="Names that the content uses; found in the content where they are not given. "
        "Fields of the contact and of the account may be left out.",
        examples=[["name"]],
    ),
]


def _short_enough(entry: str) -> str:
    if len(entry) > LONGEST_TEXT:
        raise ValueError(f"must be at most {LONGEST_TEXT} characters")
    return entry


_Text = Annotated[StrictStr, Field(max_length=LONGEST_TEXT)]
_Entries = Annotated[list[Annotated[StrictStr, AfterValidator(_short_enough)]], Field(max_length=MOST_ENTRIES)]
Value = _Text | StrictBool | StrictInt | StrictFloat | _Entries
GivenVariables = Annotated[
    dict[VariableName, Value], Field(max_length=2 * MOST_VARIABLES, examples=[{"shop_name": "GoodGo Shop"}])
]


class QuickReplyInput(InputModel):
    """An answer that the receiver can choose; descriptions are given for all of them or for none."""

    label: Annotated[str, Field(min_length=1, max_length=LONGEST_LABEL)]
    description: Annotated[str, Field(min_length=1, max_length=LONGEST_DESCRIPTION)] | None = None
    metadata: Annotated[str, Field(min_length=1, max_length=LONGEST_METADATA)] | None = None


class ButtonInput(InputModel):
    """A link below the message."""

    label: Annotated[str, Field(min_length=1, max_length=LONGEST_LABEL)]
    url: Annotated[str, Field(min_length=1, max_length=LONGEST_URL, examples=["https://example.com/shop"])]


Options = Annotated[list[QuickReplyInput], Field(max_length=MOST_OPTIONS, description="Of a `quick_reply`: 1 to 20.")]
Buttons = Annotated[list[ButtonInput], Field(max_length=MOST_BUTTONS, description="Of a `card`: 1 to 3.")]


class TemplateQuery(Paging):
    """Which templates are asked for: all conditions hold."""

    type: TemplateTypeName | None = None
    search: Annotated[str, Field(max_length=200, description="A part of the name.")] = ""


class CreateTemplate(InputModel):
    """A message with gaps, to be filled for each receiver."""

    name: Name
    type: TemplateTypeName = "text"
    content: Content
    variables: Variables | None = None
    options: Options = Field(default_factory=list)
    buttons: Buttons = Field(default_factory=list)


class ChangeTemplate(InputModel):
    """What to change; what isn't given stays.

    Variables that aren't given are found anew where the content is.
    """

    name: Name = ""
    type: TemplateTypeName | None = None
    content: Content = ""
    variables: Variables | None = None
    options: Options | None = None
    buttons: Buttons | None = None


class PreviewTemplate(InputModel):
    """What to fill in; what isn't given comes from a sample contact and a sample account."""

    variables: GivenVariables = Field(default_factory=dict)


class QuickReplyAnswer(AnswerModel):
    """An answer that the receiver can choose."""

    label: str
    description: str | None
    metadata: str | None


class ButtonAnswer(AnswerModel):
    """A link below the message."""

    label: str
    url: str


class TemplateAnswer(AnswerModel):
    """A message with gaps."""

    id: DocumentId
    merchant_id: str
    name: str
    type: str
    content: str
    variables: list[str]
    options: list[QuickReplyAnswer]
    buttons: list[ButtonAnswer]
    created_at: datetime
    updated_at: datetime


class TemplatePreview(AnswerModel):
    """What a receiver would see."""

    rendered: str
