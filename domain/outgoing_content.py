"""What is sent to a person on X: one shape from a message's document, or a rendered template, to the X client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NotRequired, TypedDict, cast

from domain.errors import InvalidContent
from domain.media_kinds import MediaName
from domain.templates import Button, QuickReply, TemplateType, problems_of_additions

#: How long X's id of uploaded media is used. X lets it be sent for 24 hours (x-api, 3.2).
MEDIA_USABLE = timedelta(hours=23)


class UploadedMedia(TypedDict):
    """What X calls a message's attachment, and until when it may be sent under that id."""

    id: str
    until: datetime


class OptionFields(TypedDict):
    """One quick reply in a document."""

    label: str
    description: str | None
    metadata: str | None


class ButtonFields(TypedDict):
    """One button in a document."""

    label: str
    url: str


class ContentFields(TypedDict):
    """What of a message's document says what is sent; `options` and `buttons` are there where the type has them."""

    type: str
    content: str
    options: NotRequired[list[OptionFields]]
    buttons: NotRequired[list[ButtonFields]]


@dataclass(frozen=True, slots=True)
class OutgoingContent:
    """A text, with at most one item of uploaded media, and quick replies or buttons."""

    text: str
    media_id: str | None = None
    options: tuple[QuickReply, ...] = ()
    buttons: tuple[Button, ...] = ()


@dataclass(frozen=True, slots=True)
class LinkAttachment:
    """A file on the web that is to go with a message; `type` is what it is said to be."""

    type: MediaName
    url: str


def check_additions(type_: TemplateType, options: Sequence[QuickReply], buttons: Sequence[Button]) -> None:
    """Check that a message has the quick replies or buttons of its type, and that X takes them.

    Raises:
        InvalidContent: naming everything that is wrong.
    """
    problems = tuple(problems_of_additions(type_, options, buttons))
    if problems:
        raise InvalidContent("The message is wrong", problems=problems)


def content_fields(
    type_: TemplateType, text: str, options: Sequence[QuickReply] = (), buttons: Sequence[Button] = ()
) -> ContentFields:
    """Return the fields of a message's document that say what is sent."""
    fields = ContentFields(type=type_, content=text)
    if options:
        fields["options"] = [
            OptionFields(label=each.label, description=each.description, metadata=each.metadata) for each in options
        ]
    if buttons:
        fields["buttons"] = [ButtonFields(label=each.label, url=each.url) for each in buttons]
    return fields


def content_of(message: Mapping[str, object]) -> OutgoingContent:
    """Return what a message's document says is sent."""
    media = message.get("media")
    return OutgoingContent(
        text=str(message["content"]),
        media_id=str(media["id"]) if isinstance(media, dict) else None,
        options=tuple(QuickReply(**each) for each in _list(message.get("options"))),
        buttons=tuple(Button(**each) for each in _list(message.get("buttons"))),
    )


def link_to_upload(message: Mapping[str, object], now: datetime) -> LinkAttachment | None:
    """Return the attachment that X does not have, or not for long enough; nothing where there is nothing to upload."""
    links = [each for each in _list(message.get("attachments")) if "url" in each]
    if not links:
        return None
    media = message.get("media")
    if isinstance(media, dict) and media["until"] > now:
        return None
    return LinkAttachment(cast("MediaName", links[0]["type"]), links[0]["url"])


def _list(value: object) -> list[dict[str, str]]:
    return value if isinstance(value, list) else []
