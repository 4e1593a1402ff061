"""What a batch of events means for flows, as part of the transaction that ingests it.

Where the batch concerns no flow nothing is asked and nothing is written. Else it is one question, what its contacts
are in, and one write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from domain.flow_triggers import ReEntry
from domain.happenings import Answered, Occasion, Standing, Started, decided
from storage.client import Database, Document, Session, aggregated
from storage.flow_documents import FlowEventDocument, flow_event_id
from storage.flow_starts import note_events, start_event


@dataclass(frozen=True, slots=True)
class FlowMail:
    """What executors get of a batch; `messages` are those that flows have taken: they start one or may be a reply."""

    events: tuple[FlowEventDocument, ...] = ()
    messages: frozenset[str] = frozenset()
    contacts: frozenset[str] = frozenset()


_NOTHING = FlowMail()
#: What the database tells apart.
_TICK = timedelta(milliseconds=1)


async def flow_mail(database: Database, session: Session, occasions: Sequence[Occasion], now: datetime) -> FlowMail:
    """Within a transaction: return what a batch means for the executors of its contacts."""
    if not occasions:
        return _NOTHING
    standing = await _standing(database, session, occasions)
    events: list[FlowEventDocument] = []
    messages: set[str] = set()
    last: dict[str, tuple[str, datetime]] = {}
    for each in decided(occasions, standing):
        events.append(_event_of(each, _moment(each.occasion, last, now)))
        if each.occasion.message_id is not None:
            messages.add(each.occasion.message_id)
    return FlowMail(tuple(events), frozenset(messages), frozenset(event["contactId"] for event in events))


async def deliver_in(database: Database, session: Session, mail: FlowMail) -> None:
    """Within a transaction: put it where executors take it from."""
    await note_events(database, mail.events, session)


async def _standing(database: Database, session: Session, occasions: Sequence[Occasion]) -> Standing:
    """Ask what the contacts are in, of what matters for these occasions."""
    talking = {each.contact_id for each in occasions if each.may_answer and not each.contact.is_new}
    barred = {
        rule: {
            (each.contact_id, flow.id)
            for each in occasions
            if not each.contact.is_new
            for flow in each.flows
            if flow.re_entry is rule
        }
        for rule in (ReEntry.ONCE, ReEntry.AFTER_COMPLETED)
    }
    either: list[Document] = []
    if talking:
        either.append({"contactId": {"$in": sorted(talking)}, "listening": True})
    for rule, entries in barred.items():
        if entries:
            into: Document = {
                "contactId": {"$in": sorted({contact_id for contact_id, _ in entries})},
                "flowId": {"$in": sorted({flow_id for _, flow_id in entries})},
            }
            either.append(into | {"status": "running"} if rule is ReEntry.AFTER_COMPLETED else into)
    if not either:
        return Standing()
    return await _asked(database, session, either, occasions)


async def _asked(
    database: Database, session: Session, either: list[Document], occasions: Sequence[Occasion]
) -> Standing:
    contacts = sorted({each.contact_id for each in occasions if not each.contact.is_new})
    # A start that is yet to be taken is an execution that is about to begin.
    begun: Document = {"contactId": {"$in": contacts}, "kind": "start"}
    pipeline: list[Document] = [
        # Both at once: a union can't be had in a transaction, but any one document can be looked up beside.
        {"$match": {"_id": occasions[0].account.id}},
        {"$project": {"_id": 1}},
        _looked_up("flowExecutions", {"$or": either}, "executions"),
        _looked_up("flowEvents", begun, "starts"),
    ]
    flows = {flow.id: flow for each in occasions for flow in each.index.flows.values()}
    listening: set[str] = set()
    entered: set[tuple[str, str]] = set()
    for found in await aggregated(database["accounts"], pipeline, session):
        for execution in found["executions"]:
            entered.add((execution["contactId"], execution["flowId"]))
            if execution.get("listening") is True:
                listening.add(execution["contactId"])
        for start in found["starts"]:
            entered.add((start["contactId"], start["flowId"]))
            flow = flows.get(start["flowId"])
            if flow is None or flow.listens:
                listening.add(start["contactId"])
    return Standing(listening, entered)


def _looked_up(collection: str, condition: Document, name: str) -> Document:
    shown = {"_id": 0, "contactId": 1, "flowId": 1, "listening": 1}
    return {"$lookup": {"from": collection, "pipeline": [{"$match": condition}, {"$project": shown}], "as": name}}


def _moment(occasion: Occasion, last: dict[str, tuple[str, datetime]], now: datetime) -> datetime:
    """Return when something has happened, not later than now, and after what came before it of the same contact."""
    key, before = last.get(occasion.contact_id, ("", None))
    at = min(occasion.at, now)
    if before is not None:
        at = before if key == occasion.key else max(at, before + _TICK)
    last[occasion.contact_id] = (occasion.key, at)
    return at


def _event_of(each: Started | Answered, at: datetime) -> FlowEventDocument:
    occasion = each.occasion
    account, contact_id = occasion.account, occasion.contact_id
    if isinstance(each, Started):
        # One contact may be known to several accounts: it is in a dialogue with the one that it has turned to.
        contact = {"_id": contact_id, "merchantId": account.merchant_id, "accountId": account.id}
        return start_event(contact, each.flow, occasion.key, at, message_id=occasion.message_id)
    return {
        "_id": flow_event_id(contact_id, f"reply|{occasion.key}"),
        "merchantId": account.merchant_id,
        "accountId": account.id,
        "contactId": contact_id,
        "kind": "reply",
        "at": at,
        "messageId": cast("str", occasion.message_id),
    }
