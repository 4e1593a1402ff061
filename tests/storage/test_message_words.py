"""Messages become searchable after they are stored, each of them, and stop being so when they are erased."""

from __future__ import annotations

import pytest

from config.settings import Settings
from domain.clock import SystemClock
from domain.partition import LANES
from storage.client import Client, Database, begin, session_of
from storage.contact_erasure import ContactErasures
from storage.inbox import Inbox
from storage.message_words import MessageWords, note_in
from storage.messages import AgentMessage, Messages
from storage.outbox import Outbox
from tests.storage.arrivals import START, arrive, connect, everything, ingest_of, message

ALL = range(LANES)


@pytest.fixture
def words(database: Database) -> MessageWords:
    return MessageWords(database)


@pytest.fixture
async def inbox(client: Client, database: Database) -> Inbox:
    await connect(database)
    return Inbox(client, database)


async def set_all(words: MessageWords) -> int:
    count = 0
    while notes := await words.read(ALL, 0):
        count += await words.set(notes)
    return count


async def said(database: Database) -> list[list[str] | None]:
    return [each.get("words") for each in await everything(database, "messages")]


async def test_what_is_ingested_becomes_searchable_afterwards(
    inbox: Inbox, client: Client, database: Database, words: MessageWords
) -> None:
    events = (message("Where is it?"), message("On its way", 1, outbound=True), message("...", 2))
    await ingest_of(client, database).apply(await arrive(inbox, database, *events))
    assert await said(database) == [None, None, None]
    assert len(await everything(database, "searchNotes")) == 1
    assert await set_all(words) == 2
    assert await said(database) == [["where", "is", "it"], ["on", "its", "way"], None]
    assert await everything(database, "searchNotes") == []


async def test_an_answer_becomes_searchable_once_x_has_it_and_reads_what_came_before(
    inbox: Inbox, client: Client, database: Database, words: MessageWords
) -> None:
    await ingest_of(client, database).apply(await arrive(inbox, database, message("hello")))
    await set_all(words)
    (conversation,) = await everything(database, "conversations")
    assert conversation["unreadCount"] == 1
    answer = AgentMessage(
        id="own",
        account_id=conversation["accountId"],
        conversation_id=conversation["_id"],
        contact_id=conversation["contactId"],
        twitter_user_id="200",
        type="text",
        content="Good morning",
        user_id="u1",
    )
    await Messages(database).queue("m1", answer, START)
    outbox = Outbox(client, database)
    await outbox.claim("own", 1, START)
    assert await everything(database, "searchNotes") == []
    await outbox.confirm("own", "x-own", START, settled_by="answer")
    assert await set_all(words) == 1
    (stored,) = await everything(database, "messages", _id="own")
    assert stored["words"] == ["good", "morning"]
    (conversation,) = await everything(database, "conversations")
    assert conversation["unreadCount"] == 0


async def test_a_note_is_left_with_the_messages_or_not_at_all(client: Client, database: Database) -> None:
    async with session_of(client) as session:
        await begin(session)
        await note_in(database, session, ["m1"])
        await session.abort_transaction()
    assert await everything(database, "searchNotes", messageIds="m1") == []


async def test_setting_words_twice_changes_nothing(
    inbox: Inbox, client: Client, database: Database, words: MessageWords
) -> None:
    await ingest_of(client, database).apply(await arrive(inbox, database, message("hello")))
    notes = await words.read(ALL, 0)
    assert await words.set(notes) == 1
    assert await words.set(notes) == 0
    assert await said(database) == [["hello"]]


async def test_every_lane_gets_its_turn(client: Client, database: Database, words: MessageWords) -> None:
    notes = [{"_id": f"{lane:02x}-{number}", "messageIds": []} for lane in ALL for number in range(9)]
    await database["searchNotes"].insert_many(notes)
    start, seen = 0, set()
    for _ in range(LANES):
        found = await words.read(ALL, start)
        lane = int(found[-1]["_id"][:2], 16)
        seen.add(lane)
        start = lane + 1
    assert seen == set(ALL)
    (others,) = [await words.read(range(4, 8), 7)]
    assert {int(each["_id"][:2], 16) for each in others} == {7}


async def test_a_message_that_was_erased_meanwhile_gets_no_words(
    inbox: Inbox, client: Client, database: Database, words: MessageWords, settings: Settings
) -> None:
    await ingest_of(client, database).apply(await arrive(inbox, database, message("planted")))
    (contact,) = await everything(database, "contacts")
    notes = await words.read(ALL, 0)
    await ContactErasures(database, settings, settle_s=0.05).erase("m1", contact["_id"], "u1", SystemClock())
    assert await words.set(notes) == 0
    for name in await database.list_collection_names():
        assert "planted" not in str(await everything(database, name))
