from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from gateway.models.base import AnswerModel, DocumentId, InputModel, NoQuery
from gateway.models.messages import MessageAnswer
from gateway.models.moments import Moment
from gateway.models.paging import Paging

ConversationStatus = Literal["open", "closed"]


class ConversationQuery(Paging):
    """Which conversations are asked for: all conditions hold."""

    account_id: str | None = None
    status: ConversationStatus | None = None
    assigned_to: Annotated[str | None, Field(description="A user's id, or `none` for those that nobody has.")] = None
    contact_id: str | None = None
    unread: Annotated[bool | None, Field(description="Whether there are messages that nobody has read.")] = None
    escalated: Annotated[bool | None, Field(description="Whether the chatbot has handed it to people.")] = None
    since: Annotated[Moment | None, Field(alias="from", description="The earliest time of the last message.")] = None
    until: Annotated[Moment | None, Field(alias="to", description="The time before which the last message was.")] = None
    search: Annotated[
        str,
        Field(
            max_length=200,
            description="Words that one of its messages has, all of them, or a phrase in double quotes; found are the "
            "conversations of the newest 1,000 such messages.",
        ),
    ] = ""
    order: Annotated[Literal["asc", "desc"], Field(description="By the last message; `desc`: the latest first.")] = (
        "desc"
    )


class ContactConversationQuery(Paging):
    """Which of a contact's conversations are asked for."""

    status: ConversationStatus | None = None


class OneConversationQuery(NoQuery):
    """How much of a conversation is asked for."""

    include_messages: bool = True


class CloseConversation(InputModel):
    """Why a conversation is closed."""

    reason: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class AssignConversation(InputModel):
    """Who takes a conversation; `null`: nobody."""

    user_id: Annotated[str, Field(min_length=1, max_length=128)] | None


class ContactNameAnswer(AnswerModel):
    """The contact's names."""

    username: str | None = None
    display_name: str | None = None


class EscalationAnswer(AnswerModel):
    """Why people are to take over, since when, and who saw to it: `bot`, or a user's id."""

    reason: str
    at: datetime
    by: str


class ConversationAnswer(AnswerModel):
    """One dialogue with a contact; `escalation` is there while it is escalated."""

    id: DocumentId
    contact_id: str
    account_id: str
    status: ConversationStatus
    channel: str
    assigned_to_user_id: str | None
    message_count: int
    unread_count: int
    started_at: datetime
    last_message_at: datetime
    closed_at: datetime | None
    close_reason: str | None
    escalated: bool = False
    escalation: EscalationAnswer | None = None
    note_count: int = 0
    contact: ContactNameAnswer


class UnreadOfAccount(AnswerModel):
    """How many open conversations of an account have messages that nobody has read."""

    account_id: str
    conversations: int


class UnreadAnswer(AnswerModel):
    """How many open conversations have messages that nobody has read.

    Up to 10,000 they are all counted; over that `complete` is false.
    """

    conversations: int
    assigned_to_me: int
    accounts: list[UnreadOfAccount]
    complete: bool


class ConversationDetails(ConversationAnswer):
    """One dialogue with its newest messages, oldest first; `null` where they weren't asked for.

    `hasOlderMessages`: there are more than these, which `…/messages` lists.
    """

    messages: list[MessageAnswer] | None
    has_older_messages: bool
