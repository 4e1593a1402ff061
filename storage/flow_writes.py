"""What nodes of flows change in our own documents: each with the note that it is done, in one transaction.

So it is done once, and what it causes (a tag that starts other flows, a flow that is started) is caused once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from domain.contact_fields import MOST_ATTRIBUTES, MOST_TAGS, AttributeValue
from domain.flow_index import ActiveFlow
from domain.flow_nodes import NEXT, AddTag, Assign, CloseConversation, RemoveTag, StartFlow, UpdateAttributes
from domain.flow_state import Effect
from domain.flow_triggers import OnManual
from storage.client import Client, Database, Document, Session, session_of
from storage.conversations import Conversations
from storage.flow_documents import EffectOutcome, FlowEventDocument
from storage.flow_events import FlowEvents
from storage.flow_starts import FlowStarts, note_events, start_event, tags_added
from storage.users import Users

Change: TypeAlias = AddTag | RemoveTag | UpdateAttributes | Assign | CloseConversation | StartFlow


class _DoneBefore(Exception):
    """The effect was done by somebody else; nothing is written a second time."""


class FlowWrites:
    """Changes contacts and conversations, and starts flows, for executors."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._database = database
        self._events = FlowEvents(database)

    async def do(self, event: FlowEventDocument, effect: Effect, action: Change, now: datetime) -> None:
        """Do what an effect's event asks for, and note in it what became of that.

        Raises:
            PyMongoError: when the database failed; nothing is written then, or all of it.
        """

        async def work(session: Session) -> None:
            query = {"_id": event["contactId"], "merchantId": event["merchantId"]}
            contact = await self._database["contacts"].find_one(query, session=session)
            reason = "contact_gone"
            if contact is not None:
                reason = await _Change(self._database, session, event, effect, contact, now).make(action)
            done = EffectOutcome(reason=reason or None, final=True, retryAfterS=0.0, result=None, branch=NEXT)
            if not await self._events.done(event["_id"], done, session):
                raise _DoneBefore

        try:
            async with session_of(self._client) as session:
                await session.with_transaction(work)
        except _DoneBefore:
            return


@dataclass(frozen=True, slots=True)
class _Change:
    """One change within its transaction; each method returns why it can't be made, or nothing."""

    database: Database
    session: Session
    event: FlowEventDocument
    effect: Effect
    contact: Document
    now: datetime

    async def make(self, action: Change) -> str:
        match action:
            case AddTag(tag):
                return await self._add_tag(tag)
            case RemoveTag(tag):
                return await self._update({"$pull": {"tags": tag}})
            case UpdateAttributes(attributes):
                return await self._update_attributes(attributes)
            case Assign(user_id):
                return await self._assign(user_id)
            case CloseConversation(reason):
                return await self._close(reason)
            case StartFlow(flow_id):
                return await self._start_flow(flow_id)

    async def _add_tag(self, tag: str) -> str:
        tags: list[str] = self.contact["tags"]
        if tag in tags:
            return ""
        if len(tags) >= MOST_TAGS:
            return "too_many_tags"
        await self._update({"$addToSet": {"tags": tag}})
        await FlowStarts(self.database).happened(
            self.contact,
            tags_added(tags, [*tags, tag]),
            str(self.effect.key),
            self.now,
            session=self.session,
            depth=self.effect.depth + 1,
        )
        return ""

    async def _update_attributes(self, attributes: Mapping[str, AttributeValue | None]) -> str:
        kept = {name: value for name, value in attributes.items() if value is not None}
        removed = attributes.keys() - kept.keys()
        if len({*self.contact["attributes"], *kept} - removed) > MOST_ATTRIBUTES:
            return "too_many_attributes"
        update: Document = {}
        if kept:
            update["$set"] = {f"attributes.{name}": value for name, value in kept.items()}
        if removed:
            update["$unset"] = {f"attributes.{name}": "" for name in removed}
        return await self._update(update)

    async def _update(self, update: Document) -> str:
        changes = {**update, "$set": {**update.get("$set", {}), "updatedAt": self.now}}
        await self.database["contacts"].update_one({"_id": self.contact["_id"]}, changes, session=self.session)
        return ""

    async def _assign(self, user_id: str | None) -> str:
        merchant_id = self.event["merchantId"]
        if user_id is not None and not await Users(self.database).is_active(merchant_id, user_id):
            return "user_missing"
        conversation_id = await self._open_conversation()
        if conversation_id is None:
            return "no_conversation"
        await Conversations(self.database).assign(merchant_id, conversation_id, user_id, self.session)
        return ""

    async def _close(self, reason: str | None) -> str:
        conversation_id = await self._open_conversation()
        if conversation_id is not None:
            conversations = Conversations(self.database)
            await conversations.close(self.event["merchantId"], conversation_id, reason, self.now, self.session)
        return ""

    async def _open_conversation(self) -> str | None:
        query = {"accountId": self.event["accountId"], "contactId": self.contact["_id"], "status": "open"}
        found = await self.database["conversations"].find_one(query, {"_id": 1}, session=self.session)
        return None if found is None else str(found["_id"])

    async def _start_flow(self, flow_id: str) -> str:
        query = {"_id": flow_id, "merchantId": self.event["merchantId"], "status": "active"}
        flow = await self.database["flows"].find_one(query, {"version": 1, "accountId": 1}, session=self.session)
        if flow is None:
            return "flow_inactive"
        if flow["accountId"] not in {None, self.contact["accountId"]}:
            return "flow_of_another_account"
        started = ActiveFlow(flow_id, flow["version"], flow["accountId"], OnManual())
        event = start_event(
            self.contact,
            started,
            str(self.effect.key),
            self.now,
            depth=self.effect.depth + 1,
            variables=self.effect.variables,
        )
        await note_events(self.database, [event], self.session)
        return ""
