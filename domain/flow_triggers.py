"""What starts a flow, and whether it starts for a contact (contract, part 5, "Flows").

A trigger is written as `{"type", "config"}`. One that names nothing in particular (no keywords, no tag, no campaign)
takes every event of its kind. Keywords are whole words, or several in a row, compared without case and accents as
search does it (`domain/contact_names.py`); in scripts without spaces between words, and of emoji, each character is a
word. Only what comes from a person starts a flow: the caller never asks about a message of our own that comes back as
an event (contract, part 4).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Literal, TypeAlias

from domain.contact_fields import folded_tag, tag
from domain.contact_names import UNSPACED, words
from domain.errors import InvalidContent, Problem
from domain.flow_fields import LONGEST_ID, Fields
from domain.recurrence import Recurrence

MOST_KEYWORDS = 100
LONGEST_KEYWORD = 100
#: Words of a message that are looked at.
MOST_WORDS = 2_000
_LONGEST_RULE = 500

Words: TypeAlias = tuple[str, ...]
ExecutionStatus: TypeAlias = Literal["running", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class OnNewFollower:
    """Somebody follows the account."""

    kind: ClassVar = "new_follower"


@dataclass(frozen=True, slots=True)
class OnNewContact:
    """A contact is made."""

    kind: ClassVar = "new_contact"


@dataclass(frozen=True, slots=True)
class OnManual:
    """Somebody starts it by hand."""

    kind: ClassVar = "manual"


@dataclass(frozen=True, slots=True)
class OnMessage:
    """A message comes: any, one with a keyword in it, or, `exact`, one that is a keyword and nothing else."""

    kind: ClassVar = "message_received"
    keywords: tuple[str, ...] = ()
    exact: bool = False


@dataclass(frozen=True, slots=True)
class OnMention:
    """The account is mentioned: in any post, or in one as of `OnMessage`."""

    kind: ClassVar = "mention"
    keywords: tuple[str, ...] = ()
    exact: bool = False


@dataclass(frozen=True, slots=True)
class OnTagAdded:
    """A contact gets a tag that it did not have."""

    kind: ClassVar = "tag_added"
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class OnCampaignReplied:
    """A contact answers a campaign."""

    kind: ClassVar = "campaign_replied"
    campaign_id: str | None = None


@dataclass(frozen=True, slots=True)
class OnSegmentEntered:
    """A contact begins to meet the conditions of a segment."""

    kind: ClassVar = "segment_entered"
    segment_id: str


@dataclass(frozen=True, slots=True)
class OnSchedule:
    """A time comes, once or by a rule of RFC 5545: for each contact of a segment."""

    kind: ClassVar = "schedule"
    segment_id: str
    start_at: datetime
    recurrence: str | None = None
    timezone: str = "UTC"


Trigger: TypeAlias = (
    OnNewFollower
    | OnNewContact
    | OnManual
    | OnMessage
    | OnMention
    | OnTagAdded
    | OnCampaignReplied
    | OnSegmentEntered
    | OnSchedule
)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened to a contact: its kind is a trigger's; `about` is its text, tag, or the id of what it is.

    `about` is the text of a message or a post, the tag that was added, the id of the campaign or of the segment.
    """

    kind: str
    about: str = ""


class ReEntry(StrEnum):
    """Whether a contact that went into a flow may go into it again."""

    ALWAYS = "always"
    ONCE = "once"
    #: Once none of its executions is under way; one that failed or was cancelled is over as well.
    AFTER_COMPLETED = "after_completed"


def may_enter(rule: ReEntry, earlier: Iterable[ExecutionStatus]) -> bool:
    """Whether a contact with these executions of a flow, of whatever version, may go into it."""
    match rule:
        case ReEntry.ALWAYS:
            return True
        case ReEntry.ONCE:
            return not any(True for _ in earlier)
        case ReEntry.AFTER_COMPLETED:
            return "running" not in earlier


def starts(trigger: Trigger, happening: Happening) -> bool:
    """Whether something that happened starts a flow with this trigger."""
    if trigger.kind != happening.kind:
        return False
    match trigger:
        case OnMessage(keywords, exact) | OnMention(keywords, exact):
            return _says(happening.about, keywords, exact=exact)
        case OnTagAdded(wanted):
            return wanted is None or wanted == folded_tag(happening.about)
        case OnCampaignReplied(campaign_id):
            return campaign_id in (None, happening.about)
        case OnSegmentEntered(segment_id) | OnSchedule(segment_id):
            return segment_id == happening.about
        case _:
            return True


def keyword_words(text: str) -> Words:
    """Return the words of a text as keywords are compared, at most `MOST_WORDS`."""
    found: list[str] = []
    for word in _split(text):
        found.append(word)
        if len(found) == MOST_WORDS:
            break
    return tuple(found)


def read_trigger(given: object, problems: list[Problem]) -> Trigger | None:
    """Return a flow's trigger, and note what is wrong with it, as in `trigger.config.keywords.1`.

    None is only returned where something was noted.
    """
    fields = Fields(given, "trigger", problems)
    kind, config = fields.take("type"), fields.take("config")
    fields.close()
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        fields.note("type", f"must be one of {', '.join(_READERS)}")
        return None
    inner = Fields({} if config is None else config, "trigger.config", problems)
    trigger = read(inner)
    inner.close()
    return trigger


def _says(text: str, keywords: tuple[str, ...], *, exact: bool) -> bool:
    if not keywords:
        return True
    said = keyword_words(text)
    wanted = map(keyword_words, keywords)
    return any(said == each if exact else _follow(each, said) for each in wanted)


def _follow(phrase: Words, said: Words) -> bool:
    size = len(phrase)
    return any(said[start : start + size] == phrase for start in range(len(said) - size + 1))


def _split(text: str) -> Iterator[str]:
    for word in words(text):
        if word.isascii():
            yield word
            continue
        begin = 0
        for place, character in enumerate(word):
            if _stands_alone(character):
                if begin < place:
                    yield word[begin:place]
                yield character
                begin = place + 1
        if begin < len(word):
            yield word[begin:]


def _stands_alone(character: str) -> bool:
    return any(low <= ord(character) <= high for low, high in UNSPACED) or unicodedata.category(character) == "So"


def _keywords(fields: Fields) -> tuple[tuple[str, ...], bool]:
    given = fields.take("keywords")
    exact = fields.choice("match", ("any", "exact"), "any") == "exact"
    if given is None:
        given = []
    if not isinstance(given, list) or len(given) > MOST_KEYWORDS:
        fields.note("keywords", f"must be a list of at most {MOST_KEYWORDS} words")
        return (), exact
    if exact and not given:
        fields.note("keywords", "must be given where match is exact")
    for index, each in enumerate(given):
        if not isinstance(each, str) or not 1 <= len(each) <= LONGEST_KEYWORD:
            fields.note(f"keywords.{index}", f"must be text of 1 to {LONGEST_KEYWORD} characters")
        elif not keyword_words(each):
            fields.note(f"keywords.{index}", "must have a letter, a digit or an emoji")
    return tuple(each for each in given if isinstance(each, str)), exact


def _on_message(fields: Fields) -> OnMessage:
    return OnMessage(*_keywords(fields))


def _on_mention(fields: Fields) -> OnMention:
    return OnMention(*_keywords(fields))


def _on_tag_added(fields: Fields) -> OnTagAdded:
    return OnTagAdded(fields.checked("tag", tag) if fields.has("tag") else None)


def _on_schedule(fields: Fields) -> OnSchedule | None:
    segment_id = fields.text("segmentId", LONGEST_ID)
    if not fields.has("startAt"):
        fields.note("startAt", "must be given")
    start_at = fields.moment("startAt")
    recurrence = fields.optional_text("recurrence", _LONGEST_RULE)
    timezone = fields.optional_text("timezone", LONGEST_ID) or "UTC"
    if start_at is None:
        return None
    try:
        # Without a rule, one that is always sound: the time zone is to be checked all the same.
        Recurrence.parse(recurrence or "FREQ=DAILY", start_at, timezone)
    except InvalidContent as error:
        for problem in error.problems:
            # Its paths are those of a campaign: `schedule.recurrence`.
            fields.note(problem.field.rpartition(".")[2], problem.reason)
    return OnSchedule(segment_id, start_at, recurrence, timezone)


_READERS: Mapping[str, Callable[[Fields], Trigger | None]] = {
    OnNewFollower.kind: lambda _: OnNewFollower(),
    OnMessage.kind: _on_message,
    OnNewContact.kind: lambda _: OnNewContact(),
    OnMention.kind: _on_mention,
    OnTagAdded.kind: _on_tag_added,
    OnCampaignReplied.kind: lambda fields: OnCampaignReplied(fields.optional_text("campaignId", LONGEST_ID)),
    OnSegmentEntered.kind: lambda fields: OnSegmentEntered(fields.text("segmentId", LONGEST_ID)),
    OnManual.kind: lambda _: OnManual(),
    OnSchedule.kind: _on_schedule,
}
#: Every type of a trigger.
TRIGGER_TYPES = tuple(_READERS)
