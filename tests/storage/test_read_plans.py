"""How the database answers what REST reads of contacts: the very commands that were sent, explained."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

import storage.contact_queries
import storage.segment_indexes
from config.settings import Settings
from domain.contact_names import search_terms
from domain.segment_conditions import read_conditions
from storage.campaign_audience import CampaignAudience
from storage.client import Database, database_of
from storage.contact_queries import ContactFilter
from storage.contacts import Contacts
from storage.indexes import (
    CONTACTS_BY_ACCOUNT,
    CONTACTS_BY_ATTRIBUTE,
    CONTACTS_BY_ID,
    CONTACTS_BY_TAG,
    CONTACTS_BY_TERM,
    ensure_indexes,
)
from storage.paging import Slice
from storage.segments import Segments

NOW = datetime(2026, 1, 18, 10, 0, tzinfo=UTC)
PEOPLE = 400
VIP = {"field": "tags", "operator": "contains", "value": "vip"}
CITY = {"field": "attributes.city", "operator": "equals", "value": "c7"}


class Sent(CommandListener):
    """Notes what is read of the contacts."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command.get(event.command_name) == "contacts" and event.command_name in {"find", "aggregate"}:
            unexplained = {"lsid", "$clusterTime", "$db", "readConcern", "maxTimeMS"}
            self.commands.append({name: event.command[name] for name in event.command if name not in unexplained})

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
async def database(settings: Settings, sent: Sent) -> AsyncIterator[Database]:
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        settings.mongodb_uri.get_secret_value(), tz_aware=True, event_listeners=[sent]
    )
    database = database_of(client, settings)
    await ensure_indexes(database)
    await database["contacts"].insert_many(contact(number) for number in range(PEOPLE))
    yield database
    await client.drop_database(settings.mongodb_database)
    await client.close()


def contact(number: int) -> dict[str, Any]:
    return {
        "_id": f"{number:04}",
        "merchantId": "m" if number % 4 else "other",
        "accountId": "a" if number % 3 else "b",
        "twitterUserId": str(number),
        "username": f"user{number}",
        "displayName": "Ann Lee",
        "searchTerms": search_terms(f"user{number}", "Ann Lee"),
        "tags": ["vip", "customer"] if number % 5 == 1 else [],
        "attributes": {"city": f"c{number % 50}", "spent": number} if number % 2 else {},
        "consent": {"state": "inbound", "at": NOW, "source": "message"},
        "lastInteractionAt": NOW,
    }


async def plans(database: Database, sent: Sent) -> list[set[str]]:
    """Return, for each command that was sent, the stages of its plan and the names of its indexes."""
    return [
        set(_named(await database.command("explain", command, verbosity="queryPlanner"))) for command in sent.commands
    ]


def _named(explained: object) -> Iterator[str]:
    match explained:
        case dict():
            for name, inner in explained.items():
                if name in {"stage", "indexName"}:
                    yield str(inner)
                elif name not in {"rejectedPlans", "command", "slotBasedPlan"}:
                    yield from _named(inner)
        case list():
            for inner in explained:
                yield from _named(inner)
        case _:
            return


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (ContactFilter(), CONTACTS_BY_ID),
        (ContactFilter(account_id="a"), CONTACTS_BY_ACCOUNT),
        (ContactFilter(tags=("vip",)), CONTACTS_BY_TAG),
        (ContactFilter(tags=("vip", "customer")), CONTACTS_BY_TAG),
        (ContactFilter(tags=("vip",), account_id="a"), CONTACTS_BY_TAG),
    ],
)
async def test_a_page_is_read_in_order_from_the_index_that_fits(
    database: Database, sent: Sent, wanted: ContactFilter, index: str
) -> None:
    documents, total = await Contacts(database).page("m", wanted, Slice(skip=5, take=10))
    assert len(documents) == 10
    assert total > 15
    page, count = (await plans(database, sent))[-2:]
    assert index in page
    assert index in count
    assert not (page | count) & {"COLLSCAN", "SORT"}


@pytest.mark.parametrize("tags", [("vip", "rare"), ("rare", "vip"), ("customer", "rare", "vip")])
async def test_a_list_of_several_tags_looks_only_at_contacts_that_have_the_rarest(
    database: Database, sent: Sent, tags: tuple[str, ...]
) -> None:
    for number in (6, 11, 26):
        await database["contacts"].update_one({"_id": f"{number:04}"}, {"$push": {"tags": "rare"}})
    await database["contacts"].update_one({"_id": "0002"}, {"$set": {"tags": ["rare"]}})
    documents, total = await Contacts(database).page("m", ContactFilter(tags=tags), Slice())
    assert [each["_id"] for each in documents] == ["0026", "0011", "0006"]
    assert total == 3
    page = next(command for command in sent.commands if "find" in command)
    explained = await database.command("explain", page, verbosity="executionStats")
    assert explained["executionStats"]["totalDocsExamined"] == 4


async def test_tags_that_many_have_are_left_to_the_database(
    database: Database, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.contact_queries, "_RARE", 3)
    _, total = await Contacts(database).page("m", ContactFilter(tags=("vip", "customer")), Slice())
    assert total == 60
    page = next(command for command in sent.commands if "find" in command)
    assert page["filter"]["tags"] == {"$all": ["vip", "customer"]}


@pytest.mark.parametrize("wanted", [ContactFilter(), ContactFilter(account_id="a"), ContactFilter(tags=("vip",))])
async def test_totals_are_counted_without_looking_at_contacts(
    database: Database, sent: Sent, wanted: ContactFilter
) -> None:
    await Contacts(database).page("m", wanted, Slice())
    _, count = await plans(database, sent)
    assert "FETCH" not in count


async def test_a_page_deep_inside_looks_only_at_its_own_contacts(database: Database, sent: Sent) -> None:
    await Contacts(database).page("m", ContactFilter(), Slice(skip=200, take=10))
    explained = await database.command("explain", sent.commands[0], verbosity="executionStats")
    assert explained["executionStats"]["totalKeysExamined"] == 210
    assert explained["executionStats"]["totalDocsExamined"] == 10


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (ContactFilter(search="ann"), 300),
        (ContactFilter(search="user77"), 1),
        (ContactFilter(search="le an"), 300),
        (ContactFilter(search="user77", tags=("vip",)), 0),
        (ContactFilter(search="ann", account_id="b"), 100),
    ],
)
async def test_a_search_reads_an_index(database: Database, sent: Sent, wanted: ContactFilter, found: int) -> None:
    _, total = await Contacts(database).page("m", wanted, Slice())
    assert total == found
    for plan in await plans(database, sent):
        assert "IXSCAN" in plan
        assert "COLLSCAN" not in plan


async def test_what_a_search_of_one_word_finds_is_counted_by_the_terms_alone(database: Database, sent: Sent) -> None:
    await Contacts(database).page("m", ContactFilter(search="ann"), Slice())
    _, count = await plans(database, sent)
    assert CONTACTS_BY_TERM in count
    assert "FETCH" not in count


async def test_contacts_of_an_account_are_counted_by_its_index(database: Database, sent: Sent) -> None:
    assert await Contacts(database).count("m", "b") == 100
    [count] = await plans(database, sent)
    assert CONTACTS_BY_ACCOUNT in count
    assert "FETCH" not in count


@pytest.mark.parametrize(
    ("conditions", "index"),
    [
        ([], CONTACTS_BY_ID),
        ([VIP], CONTACTS_BY_TAG),
        ([{"field": "tags", "operator": "in", "value": ["vip", "gold"]}], CONTACTS_BY_TAG),
        ([{"all": [VIP, CITY]}], CONTACTS_BY_TAG),
        ([{"field": "tags", "operator": "notContains", "value": "vip"}], CONTACTS_BY_ID),
        ([{"field": "accountId", "operator": "equals", "value": "b"}], CONTACTS_BY_ACCOUNT),
        ([CITY], CONTACTS_BY_ATTRIBUTE),
        ([{"field": "attributes.city", "operator": "startsWith", "value": "c7"}], CONTACTS_BY_ATTRIBUTE),
        ([{"field": "attributes.spent", "operator": "between", "value": [101, 103]}], CONTACTS_BY_ID),
        ([{"field": "attributes.spent", "operator": "greaterThan", "value": 390}], CONTACTS_BY_ATTRIBUTE),
        ([{"field": "attributes.spent", "operator": "greaterThan", "value": 5}], CONTACTS_BY_ID),
        ([{"field": "attributes.city", "operator": "contains", "value": "7"}], CONTACTS_BY_ID),
        ([{"field": "attributes.city", "operator": "notExists"}], CONTACTS_BY_ID),
        ([{"field": "attributes.city", "operator": "after", "value": "2026-01-01"}], CONTACTS_BY_ID),
        ([{"any": [CITY, VIP]}], CONTACTS_BY_ID),
        ([{"not": CITY}], CONTACTS_BY_ID),
        ([{"field": "lastInteractionAt", "operator": "withinLast", "value": "P7D"}], CONTACTS_BY_ID),
        ([{"field": "displayName", "operator": "contains", "value": "nn"}], CONTACTS_BY_ID),
        ([{"field": "consent", "operator": "equals", "value": "inbound"}], CONTACTS_BY_ID),
    ],
)
async def test_a_segment_is_read_from_the_index_that_leads_to_few_contacts(
    database: Database, sent: Sent, monkeypatch: pytest.MonkeyPatch, conditions: list[object], index: str
) -> None:
    monkeypatch.setattr(storage.segment_indexes, "_FEW", 20)
    read = read_conditions(conditions)
    found, total = await Segments(database).preview("m", read, 50, NOW)
    everybody = await database["contacts"].find({"merchantId": "m"}).to_list(None)
    query = await Segments(database).query("m", read, NOW)
    expected = {each["_id"] for each in await database["contacts"].find(query, hint={"$natural": 1}).to_list(None)}
    assert expected <= {each["_id"] for each in everybody}
    assert total == len(expected)
    assert [each["_id"] for each in found] == sorted(expected, reverse=True)[:50]
    read_by = next(command for command in sent.commands if "sort" in command)
    assert read_by["hint"] == index
    stages = set(_named(await database.command("explain", read_by, verbosity="queryPlanner")))
    assert index in stages
    assert "COLLSCAN" not in stages


async def test_few_contacts_are_read_one_after_the_other(database: Database, sent: Sent) -> None:
    await Segments(database).preview("m", read_conditions([CITY]), 10, NOW)
    assert {command["hint"] for command in sent.commands} == {CONTACTS_BY_ID}


async def test_a_preview_that_shows_everybody_counts_nobody(database: Database, sent: Sent) -> None:
    conditions = read_conditions([{"field": "username", "operator": "equals", "value": "user77"}])
    assert (await Segments(database).preview("m", conditions, 10, NOW))[1] == 1
    assert [next(iter(command)) for command in sent.commands] == ["find"]


async def test_an_audience_is_read_in_the_order_of_ids(database: Database, sent: Sent) -> None:
    audience = CampaignAudience(database, Segments(database))
    await audience.page({"merchantId": "m", "consent.state": "inbound"}, "0100", 20)
    [page] = await plans(database, sent)
    assert CONTACTS_BY_ID in page
    assert not page & {"COLLSCAN", "SORT"}
