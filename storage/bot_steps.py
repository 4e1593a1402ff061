"""What the chatbot does in a conversation, each step in one transaction (docs/chatbot.md).

A step is conditional on what the conversation was when it was decided on: one that comes too late changes nothing. The
message of a step, what the session keeps, an escalation, and that nothing is due any more are written together, so that
a crash at any point leaves all of it or nothing, and what is due is found again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from pymongo import DESCENDING

from config.origin import kept_origin
from domain.bot_rules import BotRules
from domain.dialogue_settings import DialogueSettings
from domain.outgoing_content import ContentFields
from domain.queued_message import PRIORITY_AGENT, PRIORITY_BOT, Addressee, queued_message
from storage.ai_sessions import AiSessionDocument, AiSessions
from storage.ai_settings import AiSettings, settings_of
from storage.client import Client, Database, Document, Session, session_of
from storage.conversations import ConversationDocument

#: Messages of a conversation that are looked at for what is new.
_MOST_MESSAGES = 60
#: Conversations that are taken up at once by a host that finds them due.
_MOST_DUE = 5_000
_CONTENT = {"direction": 1, "content": 1, "attachments.type": 1, "source": 1, "status": 1, "at": 1}


@dataclass(frozen=True, slots=True)
class Situation:
    """A conversation, and all that decides what the chatbot may do in it."""

    conversation: ConversationDocument
    contact: Document
    settings: DialogueSettings
    rules: BotRules
    #: A person's message is on its way to X.
    person_writes: bool


@dataclass(frozen=True, slots=True)
class Saying:
    """A message of the chatbot; its id is the same whenever this is said."""

    id: str
    content: str


@dataclass(frozen=True, slots=True)
class Escalation:
    """A conversation goes to people: why, and by whom (`bot`, or a user's id)."""

    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class Step:
    """What the chatbot does.

    `seen` is the conversation that it was decided on. `settles` is the newest message that is looked after with it:
    nothing is due then, unless another one has come since; with `only_if_newest` the step is void in that case.
    """

    seen: ConversationDocument
    settles: str | None = None
    only_if_newest: bool = False
    saying: Saying | None = None
    session: AiSessionDocument | None = None
    escalation: Escalation | None = None
    is_away: bool = False


class BotSteps:
    """Reads what the chatbot decides by, and writes what it does; for the actors of conversations."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._conversations = database["conversations"]
        self._contacts = database["contacts"]
        self._accounts = database["accounts"]
        self._messages = database["messages"]
        self._settings = AiSettings(database)
        self._sessions = AiSessions(database)

    async def due(self) -> list[str]:
        """Return the ids of conversations, of all merchants, with something that the chatbot has to look at."""
        found = self._conversations.find({"botDue": True}, {"_id": 1}).limit(_MOST_DUE)
        return [conversation["_id"] async for conversation in found]

    async def situation(self, conversation_id: str) -> Situation | None:
        """Return how a conversation stands now; nothing where it is gone."""
        found = await self._conversations.find_one({"_id": conversation_id})
        if found is None:
            return None
        known = cast("ConversationDocument", found)
        contact, account, settings, writing = await asyncio.gather(
            self._contacts.find_one({"_id": known["contactId"]}),
            self._accounts.find_one({"_id": known["accountId"]}, {"tokens": 0}),
            self._settings.get(known["merchantId"]),
            self._messages.find_one(_of_person_under_way(known), {"_id": 1}),
        )
        if contact is None or account is None:
            return None
        return Situation(known, contact, settings_of(settings), BotRules.of(account, settings), writing is not None)

    async def newest(self, conversation_id: str) -> list[Document]:
        """Return the newest messages of a conversation, oldest first."""
        cursor = self._messages.find({"conversationId": conversation_id}, _CONTENT)
        documents = await cursor.sort([("at", DESCENDING), ("_id", DESCENDING)]).limit(_MOST_MESSAGES).to_list(None)
        documents.reverse()
        return documents

    async def has_said(self, message_id: str) -> bool:
        """Return whether there is a message of this id."""
        return await self._messages.count_documents({"_id": message_id}, limit=1) == 1

    async def take(self, step: Step, now: datetime) -> bool:
        """Write a step; answers whether the conversation was still as it was when the step was decided on."""

        async def work(session: Session) -> bool:
            known = await self._conversations.find_one({"_id": step.seen["_id"]}, session=session)
            if known is None or not _fits(step, known) or await self._person_writes(session, step):
                return False
            # Written to in any case: whoever erases, merges or closes it at this moment collides with this.
            await self._conversations.update_one({"_id": known["_id"]}, _changes(step, known, now), session=session)
            if step.saying is not None:
                await self._say(session, step.seen, step.saying, now)
            if step.session is not None:
                await self._sessions.put_in(session, step.session)
            return True

        async with session_of(self._client) as session:
            return await session.with_transaction(work)

    async def let_go(self, conversation_id: str, message_id: str) -> None:
        """Take note that nothing is due in a conversation, unless another message than this one has come since."""
        await self._conversations.update_one(
            {"_id": conversation_id, "botTurn.messageId": message_id}, {"$unset": {"botDue": "", "botTurn": ""}}
        )

    async def _person_writes(self, session: Session, step: Step) -> bool:
        if step.saying is None:
            return False
        query = _of_person_under_way(step.seen)
        return await self._messages.find_one(query, {"_id": 1}, session=session) is not None

    async def _say(self, session: Session, conversation: ConversationDocument, saying: Saying, now: datetime) -> None:
        """Queue a message for the account's actor; one that was said before is not said again."""
        if await self._messages.find_one({"_id": saying.id}, {"_id": 1}, session=session) is None:
            await self._messages.insert_one(_message(conversation, saying, now), session=session)


def _of_person_under_way(conversation: ConversationDocument) -> Document:
    return {
        "accountId": conversation["accountId"],
        "pending": True,
        "priority": PRIORITY_AGENT,
        "conversationId": conversation["_id"],
        "source": "agent",
    }


def _fits(step: Step, known: Mapping[str, object]) -> bool:
    """Whether a conversation is still what a step was decided on."""
    names = ("status", "contactId", "twitterUserId", "personAnsweredAt")
    unchanged = all(known.get(name) == step.seen.get(name) for name in names)
    if (known.get("escalated") is True) is not (step.seen.get("escalated") is True):
        return False
    return unchanged and (not step.only_if_newest or _newest(known) == step.settles)


def _newest(conversation: Mapping[str, object]) -> object:
    turn = conversation.get("botTurn")
    return turn["messageId"] if isinstance(turn, Mapping) else None


def _changes(step: Step, known: Mapping[str, object], now: datetime) -> Document:
    chosen: Document = {"botStepAt": now}
    update: Document = {"$set": chosen}
    if step.escalation is not None:
        chosen["escalated"] = True
        chosen["escalation"] = {"reason": step.escalation.reason, "at": now, "by": step.escalation.by}
    if step.is_away:
        chosen["awaySentAt"] = now
    if step.settles is not None and _newest(known) == step.settles:
        update["$unset"] = {"botDue": "", "botTurn": ""}
    return update


def _message(conversation: ConversationDocument, saying: Saying, now: datetime) -> Document:
    to = Addressee(
        conversation["merchantId"],
        conversation["accountId"],
        conversation["_id"],
        conversation["contactId"],
        conversation["twitterUserId"],
    )
    content = ContentFields(type="text", content=saying.content)
    message = queued_message(saying.id, to, content, source="bot", priority=PRIORITY_BOT, now=now, is_from_bot=True)
    return message | kept_origin()
