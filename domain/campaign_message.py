"""What a campaign says to one contact: its content filled for the contact, its links made to be tracked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from domain.outgoing_content import ButtonFields, ContentFields, OptionFields, content_fields
from domain.templates import Button, Fillings, QuickReply, TemplateType, Value, checked_length, render
from domain.tracked_links import Link, LinkRewriter


@dataclass(frozen=True, slots=True)
class CampaignContent:
    """One variant of what a campaign says."""

    type: TemplateType
    content: str
    options: tuple[QuickReply, ...]
    buttons: tuple[Button, ...]

    @classmethod
    def of(
        cls, type_: TemplateType, content: str, options: Sequence[OptionFields], buttons: Sequence[ButtonFields]
    ) -> CampaignContent:
        """Return the content that a document's fields describe."""
        return cls(
            type=type_,
            content=content,
            options=tuple(QuickReply(**each) for each in options),
            buttons=tuple(Button(**each) for each in buttons),
        )


@dataclass(frozen=True, slots=True)
class Rendered:
    """The fields of the message's document, and the links in it."""

    fields: ContentFields
    links: tuple[Link, ...]


def fillings_for(
    contact: Mapping[str, object], account: Mapping[str, object], variables: Mapping[str, Value]
) -> Fillings:
    """Return what fills a template for a contact's document; the account's and given names bind more."""
    return Fillings(
        contact={"name": _text(contact.get("displayName")), "username": _text(contact.get("username"))},
        attributes=_fields(contact.get("attributes")),
        account={"name": _text(account.get("displayName")), "username": _text(account.get("username"))},
        given=variables,
    )


def rendered(content: CampaignContent, fillings: Fillings, code_of: Callable[[str], str], base: str) -> Rendered:
    """Return what is sent.

    Links in the text and in buttons lead over `base`, where one is given; `code_of` makes the code of a link.

    Raises:
        MissingVariable: when nothing fills a variable.
        UnrenderableTemplate: when the text can't be made, or is too long with its tracked links.
    """
    text = render(content.content, fillings)
    if not base:
        return Rendered(content_fields(content.type, text, content.options, content.buttons), ())
    rewriter = LinkRewriter(code_of, base)
    text = checked_length(rewriter.text(text))
    buttons = [Button(label=each.label, url=rewriter.url(each.url)) for each in content.buttons]
    return Rendered(content_fields(content.type, text, content.options, buttons), rewriter.links)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _fields(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}
