from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from domain.media_kinds import MediaName
from domain.public_links import LONGEST_LINK
from gateway.models.base import AnswerModel, DocumentId, InputModel, NoQuery
from gateway.models.paging import Paging
from gateway.models.templates import ButtonAnswer, Buttons, Options, QuickReplyAnswer

MessageType = Literal["text", "quick_reply", "card"]


class MessageQuery(Paging):
    """Which part of a conversation's history is asked for, in which order."""

    order: Annotated[Literal["asc", "desc"], Field(description="`asc`: oldest first; `desc`: newest first.")] = "asc"


class SendQuery(NoQuery):
    """Whether to wait for X."""

    wait: Annotated[bool, Field(description="`false` answers at once, with the message still queued.")] = True


class AttachmentInput(InputModel):
    """A file on the public web; it is fetched and uploaded to X when the message is sent."""

    type: Annotated[
        MediaName,
        Field(description="What the file is: a PNG, JPEG or WebP up to 5 MB, a gif up to 15 MB, an MP4 up to 512 MB."),
    ]
    url: Annotated[str, Field(min_length=1, max_length=LONGEST_LINK, examples=["https://example.com/tracking.png"])]


class SendMessage(InputModel):
    """What to say. Its length is no matter of the schema: the API document has 400 for a text that is too long."""

    content: Annotated[str, Field(min_length=1, pattern=r"\S", description="Not blank.")]
    type: MessageType = "text"
    attachments: Annotated[list[AttachmentInput], Field(max_length=1, description="X takes one per message.")] = Field(
        default_factory=list
    )
    options: Options = Field(default_factory=list)
    buttons: Buttons = Field(default_factory=list)


class MessageFailure(AnswerModel):
    """Why a message was not sent; `code` and `text` are X's own."""

    reason: str
    code: int | str | None = None
    text: str | None = None


class MessageAnswer(AnswerModel):
    """One direct message; `sentAt` is null until X has it."""

    id: DocumentId
    conversation_id: str
    twitter_message_id: str | None = None
    direction: Literal["inbound", "outbound"]
    type: str
    content: str
    attachments: list[dict[str, object]]
    options: list[QuickReplyAnswer] = Field(default_factory=list)
    buttons: list[ButtonAnswer] = Field(default_factory=list)
    is_from_bot: bool
    source: str
    status: str
    failure: MessageFailure | None = None
    sent_by_user_id: str | None = None
    sent_at: datetime | None = None
    created_at: datetime
