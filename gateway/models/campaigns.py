"""Campaigns as they come in and go out (API document, "Campaign Management"; contract, part 5, "Campaigns")."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr, model_validator

from domain.campaign_state import CampaignStatus
from domain.contact_fields import LONGEST_TEXT
from domain.templates import MOST_VARIABLES
from domain.variants import CONTROL, ONLY_VARIANT
from gateway.models.base import AnswerModel, DocumentId, InputModel
from gateway.models.moments import Moment
from gateway.models.names import Name
from gateway.models.paging import Paging
from gateway.models.templates import VariableName
from gateway.models.zones import TimeZoneName
from storage.campaigns import CampaignType

MOST_SEGMENTS = 50
FEWEST_VARIANTS = 2
MOST_VARIANTS = 5
MOST_WEIGHT = 1_000
#: A larger share would be a campaign that is not sent.
MOST_CONTROL = 0.5
MOST_TESTED = 20
_LONGEST_ID = 64
_LONGEST_RECURRENCE = 500
#: The largest whole number that MongoDB keeps.
_MOST_INTEGER = 2**63 - 1
_RESERVED = frozenset({ONLY_VARIANT, CONTROL})


def _each_once(ids: list[str]) -> list[str]:
    if len(set(ids)) < len(ids):
        raise ValueError("has an entry twice")
    return ids


def _own_name(name: str) -> str:
    if name in _RESERVED:
        raise ValueError(f"must not be {name}")
    return name


Id = Annotated[str, Field(min_length=1, max_length=_LONGEST_ID)]
SegmentIds = Annotated[list[Id], Field(max_length=MOST_SEGMENTS), AfterValidator(_each_once)]
_Text = Annotated[StrictStr, Field(max_length=LONGEST_TEXT)]
_Whole = Annotated[StrictInt, Field(ge=-_MOST_INTEGER, le=_MOST_INTEGER)]
_Number = Annotated[StrictFloat, Field(allow_inf_nan=False)]
CampaignVariables = Annotated[
    dict[VariableName, _Text | StrictBool | _Whole | _Number],
    Field(
        max_length=MOST_VARIABLES,
        description="What fills variables of the template that contact and account don't.",
        examples=[{"discount_code": "SUMMER10"}],
    ),
]
VariantName = Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[A-Za-z0-9_-]+$"), AfterValidator(_own_name)]
ControlShare = Annotated[
    float,
    Field(
        ge=0,
        le=MOST_CONTROL,
        allow_inf_nan=False,
        description="The share of contacts that get nothing, to compare with.",
    ),
]


class ScheduleInput(InputModel):
    """When a campaign runs: at `startAt`, and again as `recurrence` says, until `endAt`."""

    start_at: Annotated[Moment | None, Field(description="Without it the campaign runs when it is started.")] = None
    end_at: Annotated[Moment | None, Field(description="Nothing is sent from then on.")] = None
    recurrence: Annotated[
        Annotated[str, Field(min_length=1, max_length=_LONGEST_RECURRENCE)] | None,
        Field(description="An RFC 5545 RRULE; each occurrence is a run.", examples=["FREQ=WEEKLY;BYDAY=MO"]),
    ] = None
    timezone: Annotated[TimeZoneName, Field(description="In which the recurrence is counted.")] = "UTC"


class VariantInput(InputModel):
    """One of several templates, for a share of the contacts."""

    name: Annotated[VariantName, Field(examples=["short"])]
    template_id: Id
    weight: Annotated[StrictInt, Field(ge=1, le=MOST_WEIGHT)] = 1


def _several(variants: list[VariantInput]) -> list[VariantInput]:
    if variants and len(variants) < FEWEST_VARIANTS:
        raise ValueError(f"must be {FEWEST_VARIANTS} to {MOST_VARIANTS}, or none")
    if len({variant.name for variant in variants}) < len(variants):
        raise ValueError("has a name twice")
    return variants


Variants = Annotated[
    list[VariantInput],
    Field(max_length=MOST_VARIANTS, description=f"Instead of a template: {FEWEST_VARIANTS} to {MOST_VARIANTS}."),
    AfterValidator(_several),
]


class CreateCampaign(InputModel):
    """A message to all contacts of some segments; what it says is a template, or variants with a template each."""

    name: Name
    type: CampaignType
    template_id: Id | None = None
    segment_ids: SegmentIds = Field(default_factory=list)
    exclude_segment_ids: SegmentIds = Field(default_factory=list)
    schedule: ScheduleInput | None = None
    variables: CampaignVariables = Field(default_factory=dict)
    variants: Variants = Field(default_factory=list)
    control_share: ControlShare = 0.0
    account_id: Annotated[Id | None, Field(description="Only the contacts of this account.")] = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if (self.template_id is None) is (not self.variants):
            raise ValueError("needs templateId or variants, and not both")
        return self


class ChangeCampaign(InputModel):
    """What to change; what isn't given stays, within the schedule too, and lists and variables are replaced whole.

    A template takes the place of variants, and variants that of a template.
    """

    name: Name = ""
    type: CampaignType | None = None
    template_id: Id = ""
    segment_ids: SegmentIds | None = None
    exclude_segment_ids: SegmentIds | None = None
    schedule: ScheduleInput | None = None
    variables: CampaignVariables | None = None
    variants: Variants | None = None
    control_share: ControlShare | None = None
    account_id: Id | None = None

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if self.template_id and self.variants:
            raise ValueError("takes templateId or variants, and not both")
        if self.variants == [] and not self.template_id:
            raise ValueError("needs a templateId where its variants are taken away")
        return self


class CampaignQuery(Paging):
    """Which campaigns are asked for: all conditions hold."""

    status: CampaignStatus | None = None
    type: CampaignType | None = None
    search: Annotated[str, Field(max_length=200, description="A part of the name.")] = ""


class ScheduleAnswer(AnswerModel):
    """When a campaign runs."""

    start_at: datetime | None
    end_at: datetime | None
    recurrence: str | None
    timezone: str


class VariantAnswer(AnswerModel):
    """One of several templates, for a share of the contacts."""

    name: str
    template_id: str
    weight: int


class CampaignNumbers(AnswerModel):
    """What became of a campaign's messages: `totalSent` have an outcome at X, `delivered` X has taken."""

    total_sent: int
    delivered: int
    opened: int
    clicked: int
    replied: int
    failed: int


class ProgressAnswer(AnswerModel):
    """How far the present or last run is, by the limits that apply; nulls where nothing was estimated."""

    total: int
    done: int
    remaining: int
    rate_per_minute: float | None
    estimated_completion_at: datetime | None


class CampaignAnswer(AnswerModel):
    """A message to all contacts of some segments."""

    id: DocumentId
    merchant_id: str
    name: str
    type: CampaignType
    status: CampaignStatus
    status_reason: str | None
    account_id: str | None
    template_id: str | None
    segment_ids: Sequence[str]
    exclude_segment_ids: Sequence[str]
    schedule: ScheduleAnswer
    variables: dict[str, object]
    variants: list[VariantAnswer]
    control_share: float
    metrics: CampaignNumbers
    progress: ProgressAnswer
    run_id: Annotated[str | None, Field(description="The present or last run.")]
    runs: Annotated[int, Field(description="How many runs there were.")]
    next_run_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime


class CampaignState(AnswerModel):
    """Where a campaign is, as streams of events tell it; how far it is, is a question of its own."""

    id: DocumentId
    merchant_id: str
    name: str
    type: CampaignType
    status: CampaignStatus
    status_reason: str | None
    account_id: str | None
    run_id: str | None
    runs: int
    next_run_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime


class RetryAnswer(AnswerModel):
    """How many recipients wait again."""

    retried: int
    campaign: CampaignAnswer


class TestCampaign(InputModel):
    """Who gets a test message, and what fills it beyond the campaign's own variables."""

    __test__ = False

    contact_ids: Annotated[list[Id], Field(min_length=1, max_length=MOST_TESTED), AfterValidator(_each_once)]
    variables: CampaignVariables = Field(default_factory=dict)
    variant: Annotated[str | None, Field(description="Which variant; the first where it is not given.")] = None


class TestedContact(AnswerModel):
    """What became of the test message to one contact; `refused` ones were not sent, for the reason in `error`."""

    __test__ = False

    contact_id: str
    message_id: str | None
    status: Literal["sent", "queued", "sending", "unknown", "failed", "refused"]
    error: str | None


class TestAnswer(AnswerModel):
    """What became of the test message to each contact, in the order in which they were given."""

    __test__ = False

    results: list[TestedContact]
