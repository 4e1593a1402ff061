from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StrictBool

from domain.dialogue_tools import (
    LONGEST_DESCRIPTION,
    LONGEST_HEADER,
    MOST_HEADERS,
    MOST_PARAMETERS,
    TOOL_NAME,
    Parameter,
)
from domain.public_links import LONGEST_LINK
from gateway.models.base import AnswerModel, DocumentId, InputModel

_MethodName = Literal["GET", "POST"]
_TypeName = Literal["text", "integer", "number", "boolean"]
_LONGEST_PATTERN = 200
_LONGEST_HEADER_NAME = 64

_Name = Annotated[str, Field(pattern=f"^{TOOL_NAME}$", description="What the model knows it by.")]
_Description = Annotated[
    str, Field(min_length=1, max_length=LONGEST_DESCRIPTION, description="What it finds, told to the model.")
]
_Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=LONGEST_LINK,
        description="Where it is looked up; `{{name}}` is a parameter, or `contact.id`, `contact.twitterUserId`, "
        "`contact.username`, `conversation.id`, `account.id`. Scheme and host are fixed.",
    ),
]
_Headers = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=_LONGEST_HEADER_NAME)],
        Annotated[str, Field(min_length=1, max_length=LONGEST_HEADER)],
    ],
    Field(max_length=MOST_HEADERS, description="Secret headers; they are never shown.", repr=False),
]


class ParameterInput(InputModel):
    """A value that the model gives; `pattern` is for the whole of a text."""

    name: _Name
    type: _TypeName = "text"
    description: Annotated[str, Field(max_length=LONGEST_DESCRIPTION)] = ""
    required: StrictBool = True
    pattern: Annotated[str, Field(min_length=1, max_length=_LONGEST_PATTERN)] | None = None

    def to_parameter(self) -> Parameter:
        """Return it as tools have it."""
        return Parameter(self.name, self.type, self.description, self.required, self.pattern)


_Parameters = Annotated[list[ParameterInput], Field(max_length=MOST_PARAMETERS)]


class CreateTool(InputModel):
    """A look-up that the model may ask for. Parameters that the `url` does not name are the body of a POST."""

    name: _Name
    description: _Description
    url: _Url
    method: _MethodName = "GET"
    parameters: _Parameters = Field(default_factory=list)
    headers: _Headers = Field(default_factory=dict)


class ChangeTool(InputModel):
    """What to change; what isn't given stays. Headers go where the address leads to another host."""

    name: _Name = ""
    description: _Description = ""
    url: _Url = ""
    method: _MethodName = "GET"
    parameters: _Parameters = Field(default_factory=list)
    headers: _Headers = Field(default_factory=dict)


class ParameterAnswer(AnswerModel):
    """A value that the model gives."""

    name: str
    type: _TypeName
    description: str
    required: bool
    pattern: str | None


class ToolAnswer(AnswerModel):
    """A look-up that the model may ask for; of its headers the names alone are shown."""

    id: DocumentId
    name: str
    description: str
    url: str
    host: str
    method: _MethodName
    parameters: list[ParameterAnswer]
    header_names: list[str]
    created_at: datetime
    updated_at: datetime
