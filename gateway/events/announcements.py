"""Makes what merchants are told out of changes: the same answers that REST gives, read many at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from gateway.answers import dumps
from gateway.events.kinds import KINDS, Kind
from gateway.metrics import UNHANDLED_ERRORS
from storage.change_position import Position
from storage.changes import Change, Changes
from storage.client import Document

log = structlog.get_logger()

#: What is shown of the contact of a document.
CONTACT_NAMES = ("username", "displayName")


@dataclass(frozen=True, slots=True)
class Announcement:
    """One event of a merchant; `frame` is what is sent, the same to everybody who listens."""

    merchant_id: str
    account_id: str
    event: str
    position: Position
    frame: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """A change that is an event."""

    kind: Kind
    event: str
    change: Change


def frame(position: Position, event: str, data: bytes) -> bytes:
    """Return an event as the stream has it."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (position.text.encode(), event.encode(), data)


async def announce(
    changes: Changes, batch: Sequence[Change], merchants: Collection[str], *, as_they_were: bool
) -> list[Announcement]:
    """Return what a batch of changes is to some merchants, in order.

    Several changes of a document that are the same event are told once, at the place of the last one. With
    `as_they_were` new documents are shown as the change has them, without being read; else they are shown as they are
    now, and not at all when they are gone: what was erased since is not told again.

    Raises:
        PyMongoError: when the database can't be reached.
    """
    found = list(coalesced(batch))
    documents: dict[tuple[str, str], Document] = {}
    if merchants:
        for name, kind in KINDS.items():
            ids = {each.change.id for each in found if each.kind is kind and not _is_known(each.change, as_they_were)}
            if ids:
                read = await changes.read(name, ids, merchants)
                documents |= {(name, key): document for key, document in read.items()}
    shown: list[tuple[Found, Document]] = []
    for each in found:
        known = each.change.inserted if _is_known(each.change, as_they_were) else None
        document = known or documents.get((each.kind.collection, each.change.id))
        if document is not None and document["merchantId"] in merchants:
            shown.append((each, document))
    contact_ids = {document["contactId"] for each, document in shown if each.kind.with_contact}
    contacts: dict[str, Document] = {}
    if contact_ids:
        contacts = await changes.read_fields("contacts", contact_ids, merchants, CONTACT_NAMES)
    made = (_announcement(each, document, contacts) for each, document in shown)
    return [announcement for announcement in made if announcement is not None]


def coalesced(batch: Sequence[Change]) -> Iterator[Found]:
    """Yield the changes of a batch that are events: the last one of several of a document that are the same event."""
    last: dict[tuple[str, str, str], Found] = {}
    for change in batch:
        kind = KINDS[change.collection]
        event = kind.event_of(change)
        if event is not None:
            key = (change.collection, change.id, event)
            last.pop(key, None)
            last[key] = Found(kind, event, change)
    yield from last.values()


def _is_known(change: Change, as_they_were: bool) -> bool:
    return as_they_were and change.inserted is not None


def _announcement(found: Found, document: Document, contacts: dict[str, Document]) -> Announcement | None:
    contact = contacts.get(document["contactId"]) if found.kind.with_contact else None
    data = rest_answer(found.kind, document, contact)
    if data is None:
        return None
    position = found.change.position
    # A campaign need not belong to one account.
    account_id = document["accountId"] or ""
    return Announcement(document["merchantId"], account_id, found.event, position, frame(position, found.event, data))


def rest_answer(kind: Kind, document: Document, contact: Document | None) -> bytes | None:
    """Return what REST answers for a document, as JSON; nothing for one that is not as it should be."""
    whole = {**document, "contact": contact or {}} if kind.with_contact else document
    try:
        answer = kind.answer.model_validate(whole)
    except ValidationError as error:
        # One document that is not as it should be must not silence all others; the error's text would show it.
        UNHANDLED_ERRORS.labels(error=type(error).__name__).inc()
        log.warning("events.not_shown", collection=kind.collection, id=document["_id"], problems=error.error_count())
        return None
    return dumps(answer.model_dump(by_alias=True))
