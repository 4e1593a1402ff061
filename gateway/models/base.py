from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class InputModel(BaseModel):
    """What comes in: camelCase names, and none that is not known."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, regex_engine="rust-regex")


class AnswerModel(BaseModel):
    """What goes out: read from a document by its own names, showing no field that is not named here."""

    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True)


class NoQuery(InputModel):
    """No query parameters."""


class NoBody(InputModel):
    """No body, or an empty object."""


#: A document's `_id` as the API shows it.
DocumentId = Annotated[str, Field(validation_alias="_id", serialization_alias="id")]
