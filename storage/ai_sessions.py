"""What the chatbot keeps of a conversation: the turns that the model is shown, what it is about, the slots."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypedDict, cast

from domain.dialogue_turns import Role, Turn
from domain.ids import related_id
from storage.client import Database, Document, Session

#: Messages of a conversation whose ids a session remembers, the newest.
MOST_MESSAGE_IDS: Final = 200
#: Sets the id of a session apart from that of its conversation.
_SESSION: Final = 0xA1


class TurnDocument(TypedDict):
    """What one side said."""

    role: Role
    content: str
    at: datetime


class AiSessionDocument(TypedDict):
    """The session of one conversation, whose id is the document's.

    `messageIds` are the messages of the conversation that are among `turns`, or were: they are not new to it.
    """

    _id: str
    merchantId: str
    accountId: str
    contactId: str
    sessionId: str
    turns: list[TurnDocument]
    currentIntent: str | None
    slots: dict[str, str]
    messageIds: list[str]
    createdAt: datetime
    updatedAt: datetime


class AiSessions:
    """The chatbot's sessions of all conversations."""

    def __init__(self, database: Database) -> None:
        self._collection = database["aiSessions"]

    async def get(self, merchant_id: str, conversation_id: str) -> AiSessionDocument | None:
        """Return the session of a merchant's conversation; nothing where the chatbot has said nothing in it yet."""
        query = {"_id": conversation_id, "merchantId": merchant_id}
        return cast("AiSessionDocument | None", await self._collection.find_one(query))

    async def put_in(self, session: Session, document: AiSessionDocument) -> None:
        """Within a transaction: keep a session, in the place of what there was."""
        await self._collection.replace_one(
            {"_id": document["_id"]}, cast("Document", document), upsert=True, session=session
        )


def session_id_of(conversation_id: str) -> str:
    """Return the id of a conversation's session: it has one, known before anything was said."""
    return related_id(conversation_id, _SESSION)


def turns_of(document: AiSessionDocument | None) -> tuple[Turn, ...]:
    """Return the turns of a session; none where there is no session."""
    if document is None:
        return ()
    return tuple(Turn(each["role"], each["content"], each["at"]) for each in document["turns"])


def turn_documents(turns: Sequence[Turn]) -> list[TurnDocument]:
    """Return turns as a session has them."""
    return [TurnDocument(role=each.role, content=each.content, at=each.at) for each in turns]
