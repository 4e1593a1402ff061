"""A flow on a virtual clock, as it is asked for and answered (contract, part 5, "Flows")."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, StrictBool, StrictInt, StrictStr, model_validator

from domain.contact_fields import LONGEST_TEXT, MOST_TAGS
from domain.flow_execution import MOST_ATTEMPTS
from domain.flow_fields import LONGEST_ID
from domain.flow_node_config import LONGEST_WAIT_S, MOST_NODES
from domain.flow_triggers import ExecutionStatus
from gateway.models.base import AnswerModel, InputModel
from gateway.models.campaigns import CampaignVariables, Id
from gateway.models.contacts import Attributes, ConsentState, DisplayName, TagInput, Username
from gateway.models.flow_executions import HistoryEntryAnswer
from gateway.models.moments import Moment

MOST_REPLIES = 100
NodeId = Annotated[str, Field(pattern="^[A-Za-z0-9_-]{1,64}$")]


class SimulatedContact(InputModel):
    """Somebody who need not exist."""

    username: Username = "customer_john"
    display_name: DisplayName = "John Doe"
    tags: Annotated[list[TagInput], Field(max_length=MOST_TAGS)] = Field(default_factory=list)
    attributes: Attributes = Field(default_factory=dict)
    consent: ConsentState = "inbound"


class SimulatedReply(InputModel):
    """What the contact answers, so long after the flow has begun to wait for it."""

    text: Annotated[str, Field(max_length=LONGEST_TEXT)]
    after: Annotated[StrictInt, Field(ge=0, le=LONGEST_WAIT_S, description="Seconds.")] = 0


class SimulatedFailure(InputModel):
    """How what a node does fails, and how often at each visit; `final` where it is not tried again."""

    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_ID)] = "failed"
    attempts: Annotated[StrictInt, Field(ge=1, le=MOST_ATTEMPTS)] = MOST_ATTEMPTS
    final: StrictBool = False


class SimulateFlow(InputModel):
    """What the world would answer: nothing is sent, and nothing is changed."""

    contact_id: Annotated[Id | None, Field(description="A contact as it is now.")] = None
    contact: Annotated[SimulatedContact | None, Field(description="Instead of one that exists.")] = None
    start_at: Annotated[Moment | None, Field(description="When it begins; now, where it is not given.")] = None
    variables: CampaignVariables = Field(default_factory=dict)
    replies: Annotated[
        list[SimulatedReply | None],
        Field(
            max_length=MOST_REPLIES,
            description="One for each time that a reply is waited for; null where the contact is silent.",
            examples=[[{"text": "yes", "after": 60}]],
        ),
    ] = Field(default_factory=list)
    failures: Annotated[
        dict[NodeId, SimulatedFailure], Field(max_length=MOST_NODES, description="By node.", examples=[{}])
    ] = Field(default_factory=dict)
    results: Annotated[
        dict[NodeId, Annotated[StrictStr, Field(max_length=LONGEST_TEXT)]],
        Field(max_length=MOST_NODES, description="What `http_request` is answered, by node.", examples=[{}]),
    ] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_about_one(self) -> Self:
        if self.contact_id is not None and self.contact is not None:
            raise ValueError("takes contactId or contact, and not both")
        return self


class SimulatedEffectAnswer(AnswerModel):
    """What would have been done, and when; `text` is what a message would have said."""

    at: datetime
    node: str
    type: str
    attempt: int
    text: str | None


class SimulationAnswer(AnswerModel):
    """The path taken, what would have been done on it, and how it ended.

    It is still `running` where it came to the bounds of a simulation: a year and a day, or 1,000 events.
    """

    status: ExecutionStatus
    current_node_id: str | None
    failure: str | None
    started_at: datetime
    ended_at: datetime
    variables: dict[str, object]
    path: list[HistoryEntryAnswer]
    effects: list[SimulatedEffectAnswer]
