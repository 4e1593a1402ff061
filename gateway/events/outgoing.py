"""The events of outgoing webhooks: those of the streams, out of the same changes and with the same data."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from actors.webhook_events import Happened
from gateway.events.announcements import CONTACT_NAMES, coalesced, rest_answer
from gateway.events.kinds import KINDS, Kind
from storage.changes import Change, Changes, Watched
from storage.client import Database, Document
from storage.webhook_deliveries import SubjectDocument

#: What is needed of a document to know whose it is; what it says is read when it is sent.
_FIELDS = ("merchantId", "accountId", "contactId")
#: Up to so many the server leaves new documents of other merchants out by itself.
_MOST_NAMED = 1_000


class OutgoingEvents:
    """Implements `actors.webhook_events.WebhookEvents`."""

    def watched(self, events: Collection[str], merchants: Collection[str]) -> list[Watched]:
        """Return what must be watched to see some events of some merchants."""
        shown: Document = {"merchantId": {"$in": sorted(merchants)}} if len(merchants) <= _MOST_NAMED else {}
        return [_narrowed(kind, events, shown) for kind in KINDS.values() if set(kind.events) & set(events)]

    async def happened(self, changes: Changes, batch: Sequence[Change], merchants: Collection[str]) -> list[Happened]:
        """Return what a batch of changes is to some merchants, in order."""
        found = list(coalesced([change for change in batch if change.collection in KINDS]))
        read: dict[tuple[str, str], Document] = {}
        for name in {each.kind.collection for each in found}:
            ids = {each.change.id for each in found if each.kind.collection == name and each.change.inserted is None}
            if ids:
                documents = await changes.read(name, ids, merchants)
                read |= {(name, key): document for key, document in documents.items()}
        happened: list[Happened] = []
        for each in found:
            subject = SubjectDocument(collection=each.kind.collection, id=each.change.id)
            document = each.change.inserted or read.get((subject["collection"], subject["id"]))
            if document is not None and document["merchantId"] in merchants:
                account_id, contact_id = document.get("accountId"), document.get("contactId")
                happened.append(
                    Happened(each.event, subject, each.change.position, document["merchantId"], account_id, contact_id)
                )
        return happened

    async def data(self, database: Database, merchant_id: str, subject: SubjectDocument) -> bytes | None:
        """Return what REST answers for a document now, as JSON; nothing where it is gone."""
        kind = KINDS.get(subject["collection"])
        if kind is None:
            return None  # told by an earlier version
        changes = Changes(database, [kind.watched])
        document = (await changes.read(kind.collection, [subject["id"]], [merchant_id])).get(subject["id"])
        if document is None:
            return None
        contact: Document | None = None
        if kind.with_contact:
            contact_id = document["contactId"]
            names = await changes.read_fields("contacts", [contact_id], [merchant_id], CONTACT_NAMES)
            contact = names.get(contact_id)
        return rest_answer(kind, document, contact)


def _narrowed(kind: Kind, events: Collection[str], shown: Document) -> Watched:
    """Return what must be watched of a kind: any change only where somebody wants to hear of any."""
    watched = replace(kind.watched, fields=_FIELDS, shown={**kind.shown, **shown})
    if kind.otherwise not in events:
        watched = replace(watched, any_change=False)
    return watched
