"""From the inbox to documents: one transaction a batch.

The transaction writes contacts, conversations, messages and activities and deletes the batch from the inbox, so an
event's effects happen once, whole, or not yet. Two hosts that both believe they own a partition collide on the
deletion, and one of them starts over: no lock and no lease is needed to keep ingestion right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pymongo import InsertOne, ReplaceOne, UpdateOne
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern

from config.origin import kept_origin
from domain.account_key import AccountKey
from domain.clock import Clock
from domain.draft import Draft
from domain.events import EventKind, XEvent
from domain.ids import new_id
from domain.ingest_tally import tally_of
from domain.ingestion import Ingestion, activity_id
from storage import campaign_outcomes
from storage.account_directory import AccountDirectory
from storage.client import Client, Database, Document, Session, begin, session_of
from storage.confirmations import Confirmation, mark_sent_in
from storage.dead_letters import unknown_account_letter
from storage.erased_people import ErasedPeople
from storage.flow_directory import FlowDirectory
from storage.flow_late_starts import start_late_in
from storage.inbox import event_of
from storage.ingest_flows import deliver_in, flow_mail
from storage.message_words import note_in
from storage.rollups import add_in

_SNAPSHOT = ReadConcern("snapshot")
_ATTEMPTS = 20
_TRANSIENT = "TransientTransactionError"
_UNKNOWN_COMMIT = "UnknownTransactionCommitResult"


class Superseded(Exception):
    """Part of the batch has been processed by somebody else; read the inbox again."""


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a batch."""

    events: int = 0
    messages: int = 0
    duplicates: int = 0
    unrouted: int = 0
    #: Accounts whose outbound messages an echo has settled, or whose access was revoked: their actors look again.
    touched_accounts: frozenset[str] = frozenset()
    #: Accounts that have a message to send since: the confirmation of an opt-out.
    waiting_accounts: frozenset[str] = frozenset()
    #: Conversations with something that the chatbot has to look at.
    bot_due: frozenset[str] = frozenset()
    #: Contacts whose flow executors have something to take, and how many flows were started or answered.
    flow_contacts: frozenset[str] = frozenset()
    flow_events: int = 0
    #: Message ids that an echo has settled, by account.
    settled: tuple[tuple[str, str], ...] = ()
    oldest: datetime | None = None

    @property
    def concerns_actors(self) -> bool:
        """Whether there is anybody to be told."""
        return bool(self.touched_accounts or self.waiting_accounts or self.bot_due or self.flow_contacts)


class Ingest:
    """Writes batches of inbox entries."""

    def __init__(
        self,
        client: Client,
        database: Database,
        accounts: AccountDirectory,
        clock: Clock,
        *,
        erased: ErasedPeople,
        flows: FlowDirectory,
        name: str = "ingest",
    ) -> None:
        """Make a writer; `name` keeps its counts apart from those of writers that run side by side."""
        self._name = name
        self._client = client
        self._database = database
        self._accounts = accounts
        self._clock = clock
        self._erased = erased
        self._flows = flows

    async def apply(self, documents: list[Document]) -> Ingested:
        """Process some documents of the inbox.

        Raises:
            Superseded: when somebody else has processed part of it.
            PyMongoError: when the database can't be reached; nothing is changed then, or all of it.
        """
        by_key = {e["key"]: (e, document["receivedAt"]) for document in documents for e in document["events"]}
        events = [event_of(*kept) for kept in by_key.values()]
        accounts = await self._accounts.find({event.for_user_id for event in events})
        if not self._flows.is_fresh:
            await self._flows.read({account.merchant_id for account in accounts.values()})
        async with session_of(self._client) as session:
            for attempt in range(_ATTEMPTS):
                try:
                    return await self._attempt(session, documents, events, accounts)
                except PyMongoError as error:
                    if session.in_transaction:
                        await session.abort_transaction()
                    if not error.has_error_label(_TRANSIENT) or attempt == _ATTEMPTS - 1:
                        raise
                    await asyncio.sleep(0.002 * 2 ** min(attempt, 7))
        raise Superseded

    async def _attempt(
        self, session: Session, documents: list[Document], events: list[XEvent], accounts: dict[str, AccountKey]
    ) -> Ingested:
        await begin(session, _SNAPSHOT)
        known = await self._already_there(session, events, accounts)
        ingestion = Ingestion(self._clock.now(), new_id, self._flows.of)
        routed: list[tuple[AccountKey, XEvent]] = []
        unrouted: list[XEvent] = []
        for event in events:
            account = accounts.get(event.for_user_id)
            if account is None:
                unrouted.append(event)
            elif _identity(account, event) not in known:
                routed.append((account, event))
        await self._learn(session, ingestion, routed)
        for account, event in routed:
            ingestion.take(account, event)
        flow_news = await flow_mail(self._database, session, ingestion.happenings.occasions, self._clock.now())
        bot_due = ingestion.bot_turns.settle(taken=flow_news.messages)
        await self._write(session, ingestion, unrouted)
        await deliver_in(self._database, session, flow_news)
        ids = [document["_id"] for document in documents]
        deleted = await self._database["inbox"].delete_many({"_id": {"$in": ids}}, session=session)
        if deleted.deleted_count != len(documents):
            await session.abort_transaction()
            raise Superseded
        await self._commit(session)
        by_user = {account.twitter_user_id: account.id for account, _ in routed}
        return Ingested(
            events=sum(len(document["events"]) for document in documents),
            messages=len(ingestion.messages),
            duplicates=sum(len(document["events"]) for document in documents) - len(routed) - len(unrouted),
            unrouted=len(unrouted),
            touched_accounts=frozenset(
                by_user[event.for_user_id]
                for _, event in routed
                if event.kind is EventKind.REVOKE or (event.data.get("isEcho") and ingestion.settled)
            ),
            waiting_accounts=frozenset(message["accountId"] for message in ingestion.confirmations),
            bot_due=bot_due,
            flow_contacts=flow_news.contacts,
            flow_events=len(flow_news.events),
            settled=tuple((message_id, x_id) for message_id, x_id, _ in ingestion.settled),
            oldest=min(document["receivedAt"] for document in documents),
        )

    async def _commit(self, session: Session) -> None:
        for attempt in range(_ATTEMPTS):
            try:
                await session.commit_transaction()
            except PyMongoError as error:
                if not error.has_error_label(_UNKNOWN_COMMIT) or attempt == _ATTEMPTS - 1:
                    raise
            else:
                return

    async def _already_there(
        self, session: Session, events: list[XEvent], accounts: dict[str, AccountKey]
    ) -> set[tuple[str, str]]:
        """Return the identities of events whose effects exist already."""
        messages: dict[str, list[str]] = {}
        activities: list[str] = []
        for event in events:
            account = accounts.get(event.for_user_id)
            if account is None:
                continue
            if event.kind is EventKind.MESSAGE:
                messages.setdefault(account.id, []).append(str(event.data["twitterMessageId"]))
            else:
                activities.append(activity_id(account.id, event.key))
        known: set[tuple[str, str]] = set()
        for account_id, x_ids in messages.items():
            cursor = self._database["messages"].find(
                {"accountId": account_id, "twitterMessageId": {"$in": x_ids, "$type": "string"}},
                {"_id": 0, "twitterMessageId": 1},
                session=session,
            )
            known.update([(account_id, message["twitterMessageId"]) async for message in cursor])
        if activities:
            found = self._database["activities"].find({"_id": {"$in": activities}}, {"_id": 1}, session=session)
            known.update([("", activity["_id"]) async for activity in found])
        return known

    async def _learn(self, session: Session, ingestion: Ingestion, routed: list[tuple[AccountKey, XEvent]]) -> None:
        """Tell the ingestion what exists of the people in the batch."""
        people: dict[str, set[str]] = {}
        echoed: dict[str, set[str]] = {}
        for account, event in routed:
            if event.participant_id:
                people.setdefault(account.id, set()).add(event.participant_id)
            if event.data.get("isEcho"):
                echoed.setdefault(account.id, set()).add(event.participant_id)
        contact_ids: dict[str, list[str]] = {}
        aliases: list[Document] = []
        for account_id, users in people.items():
            query = {"accountId": account_id, "twitterUserId": {"$in": list(users)}}
            async for contact in self._database["contacts"].find(query, session=session):
                if "mergedInto" in contact:
                    aliases.append(contact)
                    contact_ids.setdefault(account_id, []).append(contact["mergedInto"])
                else:
                    ingestion.know_contact(contact)
                    contact_ids.setdefault(account_id, []).append(contact["_id"])
        await self._learn_merged(session, ingestion, aliases)
        for account_id, ids in contact_ids.items():
            query = {"accountId": account_id, "contactId": {"$in": ids}, "status": "open"}
            async for conversation in self._database["conversations"].find(query, session=session):
                ingestion.know_conversation(conversation)
        await self._learn_outstanding(session, ingestion, echoed)
        await self._learn_erased(session, ingestion, routed)

    async def _learn_merged(self, session: Session, ingestion: Ingestion, aliases: list[Document]) -> None:
        """Tell the ingestion of the contacts that others in the batch were merged into; mostly there are none."""
        identities: dict[str, list[tuple[str, str]]] = {}
        for alias in aliases:
            identity = (alias["accountId"], alias["twitterUserId"])
            identities.setdefault(alias["mergedInto"], []).append(identity)
        if identities:
            query = {"_id": {"$in": list(identities)}}
            async for contact in self._database["contacts"].find(query, session=session):
                ingestion.know_merged(contact, identities[contact["_id"]])

    async def _learn_erased(
        self, session: Session, ingestion: Ingestion, routed: list[tuple[AccountKey, XEvent]]
    ) -> None:
        """Tell the ingestion who was erased of those we know only by a message to them; mostly there are none."""
        strangers: dict[AccountKey, set[str]] = {}
        for account, event in routed:
            if event.data.get("isEcho") and (account.id, event.participant_id) not in ingestion.contacts:
                strangers.setdefault(account, set()).add(event.participant_id)
        for account, users in strangers.items():
            erased = await self._erased.among(session, account, users, self._clock.now())
            for user_id, until in erased.items():
                ingestion.know_erased(account.id, user_id, until)

    async def _learn_outstanding(self, session: Session, ingestion: Ingestion, echoed: dict[str, set[str]]) -> None:
        """Tell the ingestion which sends of ours may be seen in echoes, and of the closed conversations they are in."""
        elsewhere: set[str] = set()
        for account_id, users in echoed.items():
            unseen: Document = {
                "accountId": account_id,
                "pending": True,
                "status": {"$in": ["sending", "unknown"]},
                "twitterUserId": {"$in": list(users)},
            }
            cursor = self._database["messages"].find(unseen, session=session).sort("createdAt", 1)
            async for message in cursor:
                ingestion.know_outstanding(message)
                known = ingestion.conversations.get((account_id, message["contactId"]))
                if known is None or known.document["_id"] != message["conversationId"]:
                    elsewhere.add(message["conversationId"])
        if elsewhere:
            closed = self._database["conversations"].find({"_id": {"$in": list(elsewhere)}}, session=session)
            async for conversation in closed:
                ingestion.know_closed_conversation(conversation)

    async def _write(self, session: Session, ingestion: Ingestion, unrouted: list[XEvent]) -> None:
        now = self._clock.now()
        settled = [
            Confirmation(message_id, x_id, at, "echo", ingestion.answers.get(message_id))
            for message_id, x_id, at in ingestion.settled
        ]
        sent = await mark_sent_in(self._database, session, settled, self._name) if settled else []
        # Contacts remember what was counted of them.
        tally = tally_of(ingestion, sent)
        conversations = [*ingestion.conversations.values(), *ingestion.closed_conversations.values()]
        # A contact that others were merged into is there once for each X user.
        contacts = {draft.document["_id"]: draft for draft in ingestion.contacts.values()}
        for name, drafts in (("contacts", [*contacts.values()]), ("conversations", conversations)):
            writes = list(_writes(drafts))
            if writes:
                await self._database[name].bulk_write(writes, ordered=False, session=session)
        await campaign_outcomes.note_in(self._database, session, ingestion.notes, self._name)
        await add_in(self._database, session, tally, self._name)
        if ingestion.messages:
            await self._database["messages"].insert_many(ingestion.messages, ordered=False, session=session)
            await note_in(self._database, session, [message["_id"] for message in ingestion.messages])
        await start_late_in(self._database, session, ingestion.late_answers)
        if ingestion.confirmations:
            # Counted when X has them.
            confirmations = [{**message, **kept_origin()} for message in ingestion.confirmations]
            await self._database["messages"].insert_many(confirmations, ordered=False, session=session)
        if ingestion.activities:
            await self._database["activities"].insert_many(ingestion.activities, ordered=False, session=session)
        if ingestion.revoked:
            await self._database["accounts"].update_many(
                {"_id": {"$in": ingestion.revoked}, "connected": True},
                {"$set": {"status": "error", "statusReason": "revoked", "updatedAt": now}},
                session=session,
            )
        if unrouted:
            letters = [
                ReplaceOne({"_id": event.key}, unknown_account_letter(event, now), upsert=True) for event in unrouted
            ]
            await self._database["deadLetters"].bulk_write(letters, ordered=False, session=session)


def _identity(account: AccountKey, event: XEvent) -> tuple[str, str]:
    if event.kind is EventKind.MESSAGE:
        return account.id, str(event.data["twitterMessageId"])
    return "", activity_id(account.id, event.key)


def _writes(drafts: Iterable[Draft]) -> Iterable[InsertOne[Document] | UpdateOne]:
    for draft in drafts:
        if draft.is_new:
            yield InsertOne(draft.document)
        elif draft.is_changed:
            update: Document = {}
            if draft.changes:
                update["$set"] = draft.changes
            if draft.increments:
                update["$inc"] = draft.increments
            yield UpdateOne({"_id": draft.document["_id"]}, update)
