from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, WithJsonSchema

from domain.segment_conditions import DEEPEST, MOST_CONDITIONS
from domain.segment_fields import Operator
from gateway.models.base import AnswerModel, DocumentId, InputModel
from gateway.models.names import Name

MOST_PREVIEWED = 50

_EXAMPLE = {"field": "tags", "operator": "contains", "value": "vip"}
_COMPARISON: dict[str, object] = {
    "type": "object",
    "required": ["field", "operator"],
    "properties": {
        "field": {
            "type": "string",
            "description": "A field of a contact, `tags`, `attributes.` and a name, or `campaign:` and an id.",
        },
        "operator": {"type": "string", "enum": [str(each) for each in Operator]},
        "value": {"description": "What fits the field and the operator."},
    },
    "additionalProperties": False,
}


def _group(name: str, schema: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "required": [name], "properties": {name: schema}, "additionalProperties": False}


_SCHEMA: dict[str, object] = {
    "type": "array",
    "maxItems": MOST_CONDITIONS,
    "description": f"All must hold. Groups are nested to a depth of {DEEPEST}.",
    "examples": [[_EXAMPLE]],
    "items": {
        "anyOf": [
            _COMPARISON,
            _group("any", {"type": "array", "minItems": 1, "items": {"type": "object"}}),
            _group("all", {"type": "array", "minItems": 1, "items": {"type": "object"}}),
            _group("not", {"type": "object"}),
        ]
    },
}
#: Read by `domain.segment_conditions`, which names each problem by its path.
Conditions = Annotated[list[object], WithJsonSchema(_SCHEMA)]


class CreateSegment(InputModel):
    """Contacts that meet conditions."""

    name: Name
    conditions: Conditions


class ChangeSegment(InputModel):
    """What to change; what isn't given stays, and conditions are replaced whole."""

    name: Name = ""
    conditions: Conditions | None = None


class PreviewQuery(InputModel):
    """How many contacts to show."""

    limit: Annotated[int, Field(ge=1, le=MOST_PREVIEWED, description="Contacts to answer at most.")] = 10


class SegmentAnswer(AnswerModel):
    """Contacts that meet conditions; `contactCount` was true at `countedAt`."""

    id: DocumentId
    merchant_id: str
    name: str
    conditions: list[dict[str, object]]
    contact_count: int
    counted_at: datetime
    created_at: datetime
    updated_at: datetime


class SegmentContact(AnswerModel):
    """A contact of a segment."""

    id: DocumentId
    username: str | None
    display_name: str | None
    tags: list[str]
    attributes: dict[str, object]


class SegmentPreview(AnswerModel):
    """How many contacts are in a segment now, and some of them."""

    total_matches: int
    preview: list[SegmentContact]
