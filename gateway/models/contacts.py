from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from domain import contact_fields
from domain.contact_fields import MOST_ATTRIBUTES, MOST_TAGS, AttributeValue
from gateway.models.base import AnswerModel, DocumentId, InputModel
from gateway.models.moments import Moment
from gateway.models.paging import Paging

_VALUE_SCHEMAS: list[dict[str, object]] = [
    {"type": "string", "maxLength": contact_fields.LONGEST_TEXT},
    {"type": "number"},
    {"type": "boolean"},
    {"type": "array", "items": {"type": "string"}, "maxItems": contact_fields.MOST_ENTRIES},
]


def _value_or_removal(value: object) -> AttributeValue | None:
    return None if value is None else contact_fields.attribute_value(value)


def _schema(**schema: object) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **schema})


def _attributes_schema(most: int, values: list[dict[str, object]]) -> WithJsonSchema:
    names = {"pattern": "^[A-Za-z_][A-Za-z0-9_]{0,63}$"}
    schema = {"type": "object", "propertyNames": names, "additionalProperties": {"anyOf": values}}
    return WithJsonSchema({**schema, "maxProperties": most, "examples": [{"preferredLanguage": "vi"}]})


TagInput = Annotated[
    str,
    AfterValidator(contact_fields.tag),
    _schema(minLength=1, maxLength=contact_fields.LONGEST_TAG, pattern=r"^\s*[^\s,\x00-\x1f][^,\x00-\x1f]*$"),
]
DisplayName = Annotated[
    str,
    AfterValidator(contact_fields.display_name),
    _schema(minLength=1, maxLength=contact_fields.LONGEST_DISPLAY_NAME, examples=["John Doe"]),
]
Username = Annotated[
    str, AfterValidator(contact_fields.username), _schema(pattern="^@?[A-Za-z0-9_]{1,20}$", examples=["customer_john"])
]
TwitterUserId = Annotated[
    str, AfterValidator(contact_fields.twitter_user_id), _schema(pattern="^[1-9][0-9]{0,19}$", examples=["987654321"])
]
AttributeName = Annotated[str, AfterValidator(contact_fields.attribute_name)]
Attributes = Annotated[
    dict[AttributeName, Annotated[object, AfterValidator(contact_fields.attribute_value)]],
    Field(max_length=MOST_ATTRIBUTES),
    _attributes_schema(MOST_ATTRIBUTES, _VALUE_SCHEMAS),
]
#: As many as are set and removed at most.
AttributeChanges = Annotated[
    dict[AttributeName, Annotated[object, AfterValidator(_value_or_removal)]],
    Field(max_length=2 * MOST_ATTRIBUTES),
    _attributes_schema(2 * MOST_ATTRIBUTES, [*_VALUE_SCHEMAS, {"type": "null", "description": "Removes it."}]),
]
ConsentState = Literal["none", "inbound", "opted_in", "opted_out"]


class ContactQuery(Paging):
    """Which contacts are asked for: all conditions hold."""

    account_id: str | None = None
    tags: Annotated[str, Field(max_length=65 * MOST_TAGS, description="Comma-separated; all must be there.")] = ""
    search: Annotated[
        str,
        Field(
            max_length=100,
            description="Beginnings of words of the names, and what stands between them; case and accents don't count.",
        ),
    ] = ""

    @property
    def wanted_tags(self) -> tuple[str, ...]:
        """The tags, as they are stored: lower case."""
        return tuple(dict.fromkeys(tag for text in self.tags.split(",") if (tag := contact_fields.folded_tag(text))))


class ConsentAnswer(AnswerModel):
    """What the contact agreed to."""

    state: str
    at: datetime | None
    source: str | None


class SuppressionAnswer(AnswerModel):
    """Why X lets nothing through to the contact, and since when; nothing automatic is tried until they write."""

    reason: str
    at: datetime


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
    suppression: SuppressionAnswer | None = None
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
    consent_history: Annotated[
        list[ConsentAnswer], Field(default_factory=list, description="What was before, the latest last.")
    ]
    engagement: Engagement


class ConsentInput(InputModel):
    """What the contact agreed to; without a time it was now."""

    state: ConsentState
    at: Moment | None = None
    source: Annotated[str, Field(min_length=1, max_length=200)] = "api"


def _consent_by_name(value: object) -> object:
    return {"state": value} if isinstance(value, str) else value


_ConsentOrState = Annotated[
    ConsentInput,
    BeforeValidator(_consent_by_name, json_schema_input_type=ConsentInput | ConsentState),
    Field(description="The state alone will do."),
]
ConsentSource = Annotated[
    str,
    Field(
        min_length=1,
        max_length=200,
        description="How the consent is known, as for a proof: a form, a call. Needed to take back an opt-out.",
    ),
]


class _ProvesConsent(InputModel):
    @model_validator(mode="after")
    def _source_of_something(self) -> Self:
        if "consent_source" in self.model_fields_set and "consent" not in self.model_fields_set:
            raise ValueError("consentSource says how a consent is known: consent must be given with it")
        return self


class ChangeContact(_ProvesConsent):
    """What to change; what isn't given stays. Attributes are changed one by one, `null` removes one."""

    display_name: DisplayName = Field(default_factory=str)
    attributes: AttributeChanges = Field(default_factory=dict)
    consent: _ConsentOrState = Field(default_factory=lambda: ConsentInput(state="none"))
    consent_source: ConsentSource | None = None


class ChangeAttributes(InputModel):
    """Attributes to set; `null` removes one, the others stay."""

    attributes: AttributeChanges


class AddTags(InputModel):
    """Tags to add to those that are there."""

    tags: Annotated[list[TagInput], Field(min_length=1, max_length=MOST_TAGS)]


class MergeContacts(InputModel):
    """The contact that the one in the path takes up."""

    contact_id: Annotated[str, Field(min_length=1, max_length=64)]


class ContactRow(_ProvesConsent):
    """A user of X to make known to an account, as one row of an import says it."""

    twitter_user_id: TwitterUserId
    username: Username | None = None
    display_name: DisplayName | None = None
    tags: Annotated[list[TagInput], Field(max_length=MOST_TAGS)] = Field(default_factory=list)
    attributes: Attributes = Field(default_factory=dict)
    consent: Annotated[
        ConsentInput | None,
        BeforeValidator(_consent_by_name, json_schema_input_type=ConsentInput | ConsentState | None),
        Field(description="The state alone will do."),
    ] = None
    consent_source: ConsentSource | None = None

    @property
    def checked_attributes(self) -> dict[str, AttributeValue]:
        """The attributes, by their type."""
        return contact_fields.checked_attributes(self.attributes)


class CreateContact(ContactRow):
    """A user of X to make known to an account."""

    account_id: Annotated[str, Field(min_length=1, max_length=64)]


class ImportContacts(InputModel):
    """Rows to import: CSV with a header, or a JSON object a line; the limit of a body holds for all of it."""

    account_id: Annotated[str, Field(min_length=1, max_length=64)]
    format: Literal["csv", "jsonl"]
    content: Annotated[str, Field(min_length=1, examples=["twitterUserId,username\n987654321,customer_john\n"])]


class RowAnswer(AnswerModel):
    """What became of a row; the first is number 1."""

    row: int
    status: Literal["created", "updated", "failed"]
    contact_id: str | None
    field: str | None
    reason: str | None


class ImportCounts(AnswerModel):
    """How many rows ended how."""

    created: int
    updated: int
    failed: int


class ImportAnswer(AnswerModel):
    """An import of contacts, with a result for each row that is done."""

    id: DocumentId
    account_id: str
    status: Literal["running", "completed"]
    total: int
    processed: int
    counts: ImportCounts
    results: list[RowAnswer]
    created_at: datetime
    completed_at: datetime | None


class ContactExport(AnswerModel):
    """Everything that is held about a contact, each document with all its fields."""

    exported_at: datetime
    contact: dict[str, object]
    conversations: list[dict[str, object]]
    messages: list[dict[str, object]]
    activities: list[dict[str, object]]
    campaign_recipients: list[dict[str, object]]
    tracked_links: list[dict[str, object]]
    flow_executions: list[dict[str, object]]
    flow_events: list[dict[str, object]]
    segment_members: list[dict[str, object]]
    conversation_notes: list[dict[str, object]]
    ai_sessions: list[dict[str, object]]
    webhook_deliveries: list[dict[str, object]]
    waiting_events: Annotated[list[dict[str, object]], Field(description="Received, and not processed yet.")]
