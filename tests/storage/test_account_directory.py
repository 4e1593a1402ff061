from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from storage.account_directory import AccountDirectory
from storage.ai_settings import AiSettings
from storage.client import Database

NOW = datetime(2026, 1, 19, 12, tzinfo=UTC)


async def _connect(database: Database, twitter_user_id: str) -> None:
    await database["accounts"].insert_one(
        {"_id": f"account-{twitter_user_id}", "merchantId": "m", "twitterUserId": twitter_user_id, "connected": True}
    )


async def test_everybody_who_asks_while_it_is_read_again_finds_the_account(database: Database) -> None:
    await _connect(database, "100")
    moment = 0.0
    directory = AccountDirectory(database, lambda: moment)
    for _ in range(20):
        moment += 10
        answers = await asyncio.gather(*(directory.find(["100"]) for _ in range(5)))
        assert all("100" in answer for answer in answers)


async def test_an_account_is_found_as_soon_as_it_is_connected(database: Database) -> None:
    directory = AccountDirectory(database, lambda: 0.0)
    assert await directory.find(["200", ""]) == {}
    await _connect(database, "200")
    assert set(await directory.find(["200"])) == {"200"}


async def test_a_disconnected_account_is_forgotten_after_a_moment(database: Database) -> None:
    moment = 0.0
    directory = AccountDirectory(database, lambda: moment)
    await _connect(database, "300")
    assert await directory.find(["300"])
    await database["accounts"].update_one({"twitterUserId": "300"}, {"$set": {"connected": False}})
    moment = 3.0
    assert not await directory.find(["300"])


async def test_what_is_set_for_the_chatbot_is_known_a_moment_later_and_not_asked_for_each_time(
    database: Database,
) -> None:
    moment = 0.0
    directory = AccountDirectory(database, lambda: moment)
    await _connect(database, "400")
    settings = AiSettings(database)

    async def answers() -> bool:
        return (await directory.find(["400"]))["400"].bot.answers

    assert not await answers()
    await settings.change("m", {"enabled": True}, NOW)
    assert not await answers()
    moment = 0.3
    assert await answers()
    await settings.change("m", {"accountIds": ["another"]}, NOW)
    moment = 0.6
    assert not await answers()
    await database["accounts"].update_one({"twitterUserId": "400"}, {"$set": {"connected": False}})
    # What was set meanwhile does not make the account known for longer.
    moment = 2.1
    assert not await directory.find(["400"])
