from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gateway.models.conversations import ConversationAnswer
from gateway.models.messages import MessageAnswer
from gateway.models.moments import Moment
from gateway.models.paging import Paging

#: The longest text that is searched for.
MOST_SEARCHED = 200


class MessageSearchQuery(Paging):
    """Which messages are looked for: all conditions hold."""

    q: Annotated[
        str,
        Field(
            min_length=1,
            max_length=MOST_SEARCHED,
            description="Words that a message has, all of them; in double quotes a phrase.",
            examples=["order"],
        ),
    ]
    account_id: str | None = None
    conversation_id: str | None = None
    contact_id: str | None = None
    direction: Literal["inbound", "outbound"] | None = None
    since: Annotated[Moment | None, Field(alias="from", description="The earliest time.")] = None
    until: Annotated[Moment | None, Field(alias="to", description="The time before which messages are.")] = None


class FoundMessage(MessageAnswer):
    """A message that matches, with its conversation and that one's contact."""

    conversation: ConversationAnswer
