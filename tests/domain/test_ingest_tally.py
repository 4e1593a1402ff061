"""What batches count for, one after the other, against one count over all documents that they have made."""

from __future__ import annotations

from collections.abc import Iterable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from domain.account_key import AccountKey
from domain.active_days import MOST_DAYS, day_of, pairs_of
from domain.events import EventKind, Profile, XEvent
from domain.ingest_tally import tally_of
from domain.ingestion import Ingestion
from domain.rollup import MERCHANT, Counts, Place, Tally, account_scope, flow_scope

START = datetime(2026, 1, 10, 22, tzinfo=UTC)
ACCOUNTS = [AccountKey("a1", "m1", "100"), AccountKey("a2", "m1", "101"), AccountKey("b1", "m2", "102")]

#: Account, contact, hours since the start, what: at most as many days as a contact remembers.
happenings = st.tuples(
    st.sampled_from(ACCOUNTS),
    st.sampled_from(["200", "201"]),
    st.integers(0, 24 * (MOST_DAYS - 1) - 1),
    st.sampled_from(["inbound", "native", "follow", "own_follow", "typing"]),
)
batches = st.lists(st.lists(happenings, max_size=6), max_size=8)


class World:
    """All documents, and what has been counted of them."""

    def __init__(self) -> None:
        self._ids = map(str, count())
        self.contacts: dict[str, dict[str, Any]] = {}
        self.conversations: dict[str, dict[str, Any]] = {}
        self.messages: list[dict[str, Any]] = []
        self.activities: list[dict[str, Any]] = []
        self.sums: dict[Place, Counts] = {}

    def take(self, batch: Iterable[tuple[AccountKey, str, int, str]]) -> None:
        ingestion = Ingestion(START + timedelta(days=9), lambda: next(self._ids))
        for contact in deepcopy([*self.contacts.values()]):
            ingestion.know_contact(contact)
        for conversation in deepcopy([*self.conversations.values()]):
            ingestion.know_conversation(conversation)
        for account, user, hours, what in batch:
            ingestion.take(account, self._event(account, user, START + timedelta(hours=hours), what))
        add(self.sums, tally_of(ingestion, ()))
        self.contacts |= {draft.document["_id"]: draft.document for draft in ingestion.contacts.values()}
        self.conversations |= {draft.document["_id"]: draft.document for draft in ingestion.conversations.values()}
        self.messages += ingestion.messages
        self.activities += ingestion.activities

    def _event(self, account: AccountKey, user: str, at: datetime, what: str) -> XEvent:
        key = next(self._ids)
        profile = Profile(username=f"user{user}")
        if what in {"inbound", "native"}:
            data: dict[str, object] = {"twitterMessageId": key, "text": key, "direction": "inbound"}
            if what == "native":
                data |= {"direction": "outbound", "isEcho": True}
            return XEvent(key, EventKind.MESSAGE, account.twitter_user_id, user, at, data, profile)
        kind = EventKind.TYPING if what == "typing" else EventKind.FOLLOW
        direction = "outbound" if what == "own_follow" else "inbound"
        return XEvent(key, kind, account.twitter_user_id, user, at, {"direction": direction}, profile)

    def recounted(self) -> dict[Place, Counts]:
        tally = Tally()
        for message in self.messages:
            tally.message(message)
        for conversation in self.conversations.values():
            tally.conversation(conversation)
        for contact in self.contacts.values():
            tally.contact(contact)
            tally.active(contact, pairs_of(self._active_days(contact["_id"])))
        return without_zeros(tally.places)

    def _active_days(self, contact_id: str) -> set[str]:
        wrote = {
            day_of(each["at"]) for each in self.messages if is_of(each, contact_id) and each["direction"] == "inbound"
        }
        did = [each for each in self.activities if is_of(each, contact_id)]
        return wrote | {day_of(each["at"]) for each in did if each["data"]["direction"] == "inbound"}


def is_of(document: dict[str, Any], contact_id: str) -> bool:
    return bool(document["contactId"] == contact_id)


def add(sums: dict[Place, Counts], tally: Tally) -> None:
    for place, counts in tally.places.items():
        sums.setdefault(place, Counts()).update(counts)


def without_zeros(sums: dict[Place, Counts]) -> dict[Place, Counts]:
    kept = {place: Counts({path: n for path, n in counts.items() if n}) for place, counts in sums.items()}
    return {place: counts for place, counts in kept.items() if counts}


@given(events=batches)
def test_in_any_order_and_any_batches_the_sums_are_a_count_over_all_documents(
    events: list[list[tuple[AccountKey, str, int, str]]],
) -> None:
    world = World()
    for batch in events:
        world.take(batch)
    assert without_zeros(world.sums) == world.recounted()


@given(events=batches)
def test_accounts_add_up_to_their_merchant(events: list[list[tuple[AccountKey, str, int, str]]]) -> None:
    world = World()
    for batch in events:
        world.take(batch)
    of_accounts: dict[Place, Counts] = {}
    for place, counts in world.sums.items():
        if place.scope != MERCHANT:
            of_accounts.setdefault(Place(place.merchant_id, MERCHANT, place.day), Counts()).update(counts)
    assert of_accounts == {place: counts for place, counts in world.sums.items() if place.scope == MERCHANT}


def test_a_message_counts_in_its_hour_of_utc_and_in_its_day() -> None:
    tally = Tally()
    at = datetime.fromisoformat("2026-01-18T23:30:00-02:00")
    message = {"merchantId": "m", "accountId": "a", "at": at, "direction": "outbound", "status": "sent"}
    tally.message({**message, "source": "agent", "answeredAfterS": 7})
    bucket = next(
        path for path in tally.places[Place("m", MERCHANT, "2026-01-19")] if path.startswith("total.responses:")
    )
    expected = {
        "total.sent:agent": 1,
        "hours.01.sent:agent": 1,
        "total.responseSeconds": 7,
        "hours.01.responseSeconds": 7,
    }
    expected |= {bucket: 1, bucket.replace("total", "hours.01"): 1}
    places = [Place("m", scope, "2026-01-19") for scope in (MERCHANT, account_scope("a"))]
    assert tally.places == dict.fromkeys(places, expected)
    tally.message({**message, "source": "agent", "answeredAfterS": 7}, -1)
    assert without_zeros(tally.places) == {}


def test_an_execution_counts_for_its_flow_as_well() -> None:
    tally = Tally()
    execution = {"merchantId": "m", "accountId": "a", "flowId": "f", "startedAt": START, "completedAt": None}
    tally.execution({**execution, "status": "running"})
    assert {place.scope for place in tally.places} == {MERCHANT, account_scope("a"), flow_scope("f")}
    assert {path for counts in tally.places.values() for path in counts} == {
        "total.executions:started",
        "hours.22.executions:started",
    }
