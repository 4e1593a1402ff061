from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account_key import AccountKey
from domain.consent import DEFAULT_CONFIRMATION, words_of
from domain.contact_names import search_terms
from domain.conversation_drafts import new_conversation, seen
from domain.draft import Draft
from domain.events import EventKind, Profile, XEvent
from domain.ingestion import Ingestion, activity_id

ACCOUNT = AccountKey("a1", "m1", "100")
START = datetime(2026, 11, 2, 10, tzinfo=UTC)
NOW = START + timedelta(days=1)
_NUMBERS = count(1)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def message(
    text: str = "hi",
    minutes: float = 0,
    *,
    user: str = "200",
    outbound: bool = False,
    profile: Profile | None = None,
    x_id: str | None = None,
) -> XEvent:
    x_id = x_id or str(next(_NUMBERS))
    data: dict[str, object] = {"twitterMessageId": x_id, "text": text}
    data |= {"direction": "outbound", "isEcho": True} if outbound else {"direction": "inbound"}
    return XEvent(f"dm:100:{x_id}", EventKind.MESSAGE, "100", user, at(minutes), data, profile or Profile())


def other(kind: EventKind, minutes: float = 0, *, user: str = "200", direction: str = "inbound") -> XEvent:
    return XEvent(f"{kind}:{next(_NUMBERS)}", kind, "100", user, at(minutes), {"direction": direction})


@dataclass
class Store:
    """What a database would hold: documents are changed only by what the drafts say."""

    contacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    conversations: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    activities: dict[str, dict[str, Any]] = field(default_factory=dict)
    revoked: int = 0
    numbers: Any = field(default_factory=lambda: count(1))

    def ingest(self, events: list[XEvent]) -> Ingestion:
        ingestion = Ingestion(NOW, lambda: f"id{next(self.numbers)}")
        for contact in self.contacts.values():
            ingestion.know_contact(deepcopy(contact))
        for conversation in self.conversations.values():
            if conversation["status"] == "open":
                ingestion.know_conversation(deepcopy(conversation))
            else:
                ingestion.know_closed_conversation(deepcopy(conversation))
        for stored in self.messages.values():
            if stored["status"] in {"sending", "unknown"}:
                ingestion.know_outstanding(deepcopy(stored))
        for event in events:
            ingestion.take(ACCOUNT, event)
        self._write(ingestion)
        return ingestion

    def _write(self, ingestion: Ingestion) -> None:
        drafts = [(self.contacts, draft) for draft in ingestion.contacts.values()]
        for known in (ingestion.conversations, ingestion.closed_conversations):
            drafts += [(self.conversations, draft) for draft in known.values()]
        for collection, draft in drafts:
            name = draft.document["_id"]
            if draft.is_new:
                assert name not in collection
                collection[name] = draft.document
            else:
                collection[name].update(draft.changes)
                for counter, amount in draft.increments.items():
                    collection[name][counter] = collection[name].get(counter, 0) + amount
                assert collection[name] == draft.document
        for message_id, x_id, moment in ingestion.settled:
            self.messages[message_id].update(status="sent", twitterMessageId=x_id, sentAt=moment, at=moment)
        self.messages.update({m["_id"]: m for m in ingestion.messages})
        self.activities.update({a["_id"]: a for a in ingestion.activities})
        self.revoked += len(ingestion.revoked)

    def contact(self, user: str = "200") -> dict[str, Any]:
        (found,) = [c for c in self.contacts.values() if c["twitterUserId"] == user]
        return found

    def conversation(self, user: str = "200") -> dict[str, Any]:
        found = [c for c in self.conversations.values() if c["twitterUserId"] == user and c["status"] == "open"]
        assert len(found) == 1
        return found[0]

    def send(self, text: str, user: str = "200", status: str = "sending", conversation: str | None = None) -> str:
        """Let a message of ours be under way to a known contact."""
        message_id = f"own{next(self.numbers)}"
        self.messages[message_id] = {
            "_id": message_id,
            "accountId": ACCOUNT.id,
            "twitterUserId": user,
            "contactId": self.contact(user)["_id"],
            "conversationId": conversation or self.conversation(user)["_id"],
            "content": text,
            "direction": "outbound",
            "source": "agent",
            "status": status,
            "twitterMessageId": None,
        }
        return message_id

    def without_ids(self) -> list[Any]:
        """Return everything, ids replaced by what they stand for."""
        names = {c["_id"]: c["twitterUserId"] for c in self.contacts.values()}
        names |= {c["_id"]: f"{c['twitterUserId']}/{c['status']}" for c in self.conversations.values()}

        def plain(document: dict[str, Any]) -> dict[str, Any]:
            shown = {name: value for name, value in document.items() if name != "_id"}
            for name in ("contactId", "conversationId"):
                if name in shown:
                    shown[name] = names.get(shown[name])
            return shown

        collections = (self.contacts, self.conversations, self.messages, self.activities)
        return [sorted(map(repr, map(plain, collection.values()))) for collection in collections]


def prepared() -> Store:
    """Return a store with a contact that has a closed and an open conversation, and sends under way in both."""
    store = Store()
    store.ingest([message("before", -60, x_id="b1")])
    first = store.conversation()
    first["status"] = "closed"
    store.send("same", conversation=first["_id"])
    store.ingest([message("again", -30, x_id="b2")])
    store.send("same", status="unknown")
    store.send("one")
    return store


TEXTS = st.sampled_from(["same", "one", "two"])
USERS = st.sampled_from(["200", "201", "202"])
MINUTES = st.integers(0, 50)
PROFILES = st.sampled_from(
    [Profile(), Profile(username="ann"), Profile(username="bea", displayName="Bea", profileImageUrl="p")]
)
EVENTS = st.one_of(
    st.builds(message, TEXTS, MINUTES, user=USERS, profile=PROFILES),
    st.builds(message, TEXTS, MINUTES, user=USERS, profile=PROFILES, outbound=st.just(True)),
    st.builds(
        other,
        st.sampled_from([EventKind.FOLLOW, EventKind.LIKE, EventKind.TYPING, EventKind.READ, EventKind.REVOKE]),
        MINUTES,
        user=USERS,
        direction=st.sampled_from(["inbound", "outbound"]),
    ),
)


@given(events=st.lists(EVENTS, max_size=20), data=st.data())
def test_any_split_into_batches_gives_the_same_documents_as_one_by_one(
    events: list[XEvent], data: st.DataObject
) -> None:
    singly, batched = prepared(), prepared()
    for event in events:
        singly.ingest([event])
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(events) - 1))))) if events else []
    for low, high in zip([0, *cuts], [*cuts, len(events)], strict=True):
        batched.ingest(events[low:high])
    assert batched.without_ids() == singly.without_ids()
    assert batched.revoked == singly.revoked


@given(events=st.lists(EVENTS, max_size=25), size=st.integers(1, 25))
def test_counters_equal_a_recount_and_each_contact_has_one_open_conversation(events: list[XEvent], size: int) -> None:
    store = prepared()
    for start in range(0, len(events), size):
        store.ingest(events[start : start + size])
    seen = [m for m in store.messages.values() if m["twitterMessageId"]]
    for contact in store.contacts.values():
        mine = [m for m in seen if m["contactId"] == contact["_id"]]
        assert contact["messagesReceived"] == sum(m["direction"] == "inbound" for m in mine)
        assert contact["messagesSent"] == sum(m["direction"] == "outbound" for m in mine)
        conversations = [c for c in store.conversations.values() if c["contactId"] == contact["_id"]]
        assert contact["conversationCount"] == len(conversations)
        assert sum(c["status"] == "open" for c in conversations) <= 1
    for conversation in store.conversations.values():
        mine = [m for m in seen if m["conversationId"] == conversation["_id"]]
        assert conversation["messageCount"] == len(mine)
        answers = [m["at"] for m in mine if m["direction"] == "outbound"]
        after = sum(m["direction"] == "inbound" and m["at"] > max(answers, default=at(-1000)) for m in mine)
        # An answer has read what was there when it came; what was said before it may still have come later.
        assert after <= conversation["unreadCount"] <= sum(m["direction"] == "inbound" for m in mine)
        assert answers or conversation["unreadCount"] == after
        assert conversation["lastMessageAt"] == max(m["at"] for m in mine)
        inbound = [m["at"] for m in mine if m["direction"] == "inbound"]
        assert conversation["lastInboundAt"] == (max(inbound) if inbound else None)
    assert len({c["twitterUserId"] for c in store.contacts.values()}) == len(store.contacts)
    assert not [x_id for x_id, n in Counter(m["twitterMessageId"] for m in seen).items() if n > 1]


def test_the_first_interaction_of_a_contact_that_was_made_by_hand_is_its_first_and_its_last() -> None:
    store = Store()
    store.ingest([message(minutes=0)])
    store.contact().update(firstInteractionAt=None, lastInteractionAt=None)
    store.ingest([message(minutes=5)])
    assert (store.contact()["firstInteractionAt"], store.contact()["lastInteractionAt"]) == (at(5), at(5))


@given(st.permutations([0, 5, 10, 15]))
def test_times_that_come_out_of_order_leave_first_and_last_right(minutes: list[int]) -> None:
    store = Store()
    store.ingest([message(minutes=minute) for minute in minutes])
    contact, conversation = store.contact(), store.conversation()
    assert (contact["firstInteractionAt"], contact["lastInteractionAt"]) == (at(0), at(15))
    assert (conversation["lastMessageAt"], conversation["lastInboundAt"]) == (at(15), at(15))


def test_a_first_message_makes_contact_conversation_and_message() -> None:
    store = Store()
    store.ingest([message("Hello", 3, profile=Profile(username="ann", displayName="Ann B"), x_id="77")])
    contact, conversation = store.contact(), store.conversation()
    assert contact["username"] == "ann"
    assert contact["displayName"] == "Ann B"
    assert contact["searchTerms"] == search_terms("ann", "Ann B")
    assert contact["source"] == "inbound_message"
    assert contact["consent"] == {"state": "inbound", "at": at(3), "source": "message"}
    assert (contact["conversationCount"], contact["messagesReceived"], contact["messagesSent"]) == (1, 1, 0)
    assert conversation["startedAt"] == conversation["waitingSince"] == conversation["lastInboundAt"] == at(3)
    (stored,) = store.messages.values()
    assert (stored["twitterMessageId"], stored["content"], stored["status"]) == ("77", "Hello", "received")
    assert (stored["contactId"], stored["conversationId"]) == (contact["_id"], conversation["_id"])
    assert (stored["merchantId"], stored["accountId"], stored["source"]) == ("m1", "a1", "customer")


@pytest.mark.parametrize("state", ["inbound", "opted_in", "opted_out"])
def test_consent_that_was_given_or_taken_is_left_as_it_is(state: str) -> None:
    store = Store()
    store.ingest([message()])
    consent = {"state": state, "at": at(-5), "source": "import"}
    store.contact()["consent"] = consent
    store.ingest([message(minutes=9)])
    assert store.contact()["consent"] == consent


def test_consent_stays_none_until_the_customer_writes() -> None:
    store = Store()
    store.ingest([other(EventKind.FOLLOW), message(outbound=True)])
    assert store.contact()["consent"]["state"] == "none"
    assert store.contact()["source"] == "new_follower"
    store.ingest([message(minutes=2)])
    assert store.contact()["consent"] == {"state": "inbound", "at": at(2), "source": "message"}


def test_a_profile_is_kept_up_to_date_except_for_a_name_given_by_hand() -> None:
    store = Store()
    store.ingest([message(profile=Profile(username="ann", displayName="Ann"))])
    store.ingest([message(profile=Profile(username="anna", displayName="Anna"))])
    assert (store.contact()["username"], store.contact()["displayName"]) == ("anna", "Anna")
    assert store.contact()["searchTerms"] == search_terms("anna", "Anna")
    store.contact().update(displayName="Our Ann", displayNameEdited=True)
    store.ingest([message(profile=Profile(username="ann3", displayName="Ann Three", profileImageUrl="p3"))])
    contact = store.contact()
    assert (contact["username"], contact["displayName"], contact["profileImageUrl"]) == ("ann3", "Our Ann", "p3")
    assert contact["searchTerms"] == search_terms("ann3", "Our Ann")
    store.ingest([message(profile=Profile(username=""))])
    assert store.contact()["username"] == "ann3"


def test_an_echo_settles_the_oldest_send_with_its_text_and_makes_no_message() -> None:
    store = Store()
    store.ingest([message()])
    first, second = store.send("Hello"), store.send("Hello", status="unknown")
    ingestion = store.ingest([message("Hello", 4, outbound=True, x_id="500")])
    assert ingestion.settled == [(first, "500", at(4))]
    assert ingestion.messages == []
    ingestion = store.ingest([message("Hello", 5, outbound=True, x_id="501")])
    assert ingestion.settled == [(second, "501", at(5))]


def test_two_echoes_of_one_batch_settle_two_sends() -> None:
    store = Store()
    store.ingest([message()])
    sends = [store.send("Hello"), store.send("Hello")]
    ingestion = store.ingest([message("Hello", 4, outbound=True), message("Hello", 5, outbound=True)])
    assert [settled[0] for settled in ingestion.settled] == sends


def test_an_outbound_message_that_we_did_not_send_is_native() -> None:
    store = Store()
    store.ingest([message()])
    store.send("Something else")
    store.ingest([message("By hand", 4, outbound=True)])
    (native,) = [m for m in store.messages.values() if m["source"] == "native"]
    assert (native["direction"], native["status"], native["content"]) == ("outbound", "sent", "By hand")
    assert store.contact()["messagesSent"] == 1


def test_a_send_to_somebody_else_is_not_settled() -> None:
    store = Store()
    store.ingest([message(user="200"), message(user="201")])
    store.send("Hello", user="201")
    assert store.ingest([message("Hello", user="200", outbound=True)]).settled == []


@pytest.mark.parametrize("own", [True, False])
def test_a_response_time_runs_from_the_first_unanswered_message_to_the_answer(own: bool) -> None:
    store = Store()
    store.ingest([message(minutes=1), message(minutes=2)])
    if own:
        store.send("Answer")
    store.ingest([message("Answer", 6, outbound=True), message("Answer again", 9, outbound=True)])
    contact = store.contact()
    assert (contact["responseSeconds"], contact["responseCount"]) == (300, 1)
    assert store.conversation()["waitingSince"] is None
    store.ingest([message(minutes=10)])
    assert store.conversation()["waitingSince"] == at(10)


def test_an_answer_that_is_older_than_the_question_answers_nothing() -> None:
    store = Store()
    store.ingest([message(minutes=5), message("Earlier", 3, outbound=True)])
    assert store.contact()["responseCount"] == 0
    assert store.conversation()["waitingSince"] == at(5)


def test_a_message_after_the_conversation_was_closed_opens_a_new_one() -> None:
    store = Store()
    store.ingest([message()])
    store.conversation()["status"] = "closed"
    store.ingest([message(minutes=8), message(minutes=9)])
    assert store.conversation()["startedAt"] == at(8)
    assert store.contact()["conversationCount"] == 2


def test_typing_leaves_nothing_behind() -> None:
    store = Store()
    store.ingest([other(EventKind.TYPING)])
    assert store == Store(numbers=store.numbers)


def test_an_activity_names_its_contact_and_makes_one_only_where_the_other_person_acted() -> None:
    store = Store()
    like, own, unknown = (
        other(EventKind.LIKE, 1),
        other(EventKind.LIKE, 2, direction="outbound"),
        other(EventKind.LIKE, 3, user="999", direction="outbound"),
    )
    store.ingest([like, own, unknown])
    contact = store.contact("200")
    assert contact["source"] == "like"
    assert [c["twitterUserId"] for c in store.contacts.values()] == ["200"]
    kept = {a["_id"]: a["contactId"] for a in store.activities.values()}
    assert kept == {
        activity_id("a1", like.key): contact["_id"],
        activity_id("a1", own.key): contact["_id"],
        activity_id("a1", unknown.key): None,
    }


def test_taking_access_back_is_noted_and_kept() -> None:
    store = Store()
    event = other(EventKind.REVOKE, user="")
    assert store.ingest([event]).revoked == ["a1"]
    assert set(store.activities) == {activity_id("a1", event.key)}


def test_a_new_conversation_is_open_and_empty() -> None:
    conversation = new_conversation(ACCOUNT, {"_id": "c1", "twitterUserId": "200"}, START, "v1")
    assert conversation["status"] == "open"
    assert (conversation["messageCount"], conversation["unreadCount"]) == (0, 0)


def test_a_stop_word_opts_out_and_is_confirmed_once() -> None:
    store = Store()
    first = store.ingest([message("Hello", 1), message("Stop!", 2)])
    contact = store.contact()
    assert contact["consent"] == {"state": "opted_out", "at": at(2), "source": "stop_word"}
    assert contact["lastOptOutAt"] == at(2)
    (confirmation,) = first.confirmations
    assert confirmation["conversationId"] == store.conversation()["_id"]
    expected = {"source": "consent", "status": "queued", "pending": True, "priority": 0, "twitterUserId": "200"}
    assert confirmation | expected == confirmation
    assert confirmation["content"] == DEFAULT_CONFIRMATION

    again = store.ingest([message("STOP", 3), message("How much is it?", 4)])
    assert again.confirmations == []
    assert store.contact()["consent"] == {"state": "opted_out", "at": at(2), "source": "stop_word"}


def test_a_start_word_takes_an_opt_out_back_and_the_next_stop_word_is_confirmed_again() -> None:
    store = Store()
    ingestion = store.ingest([message("stop", 1), message("START", 2), message("stop", 3), message("start", 4)])
    assert store.contact()["consent"] == {"state": "opted_in", "at": at(4), "source": "start_word"}
    assert len(ingestion.confirmations) == 2


@pytest.mark.parametrize(("first", "late", "state"), [("start", "stop", "opted_in"), ("stop", "start", "opted_out")])
def test_of_stop_and_start_the_later_one_counts_whichever_arrives_first(first: str, late: str, state: str) -> None:
    store = Store()
    store.ingest([message(first, 5)])
    ingestion = store.ingest([message(late, 3)])
    assert (store.contact()["consent"]["state"], store.contact()["consent"]["at"]) == (state, at(5))
    assert ingestion.confirmations == []


def test_a_stop_word_ends_what_a_merchant_has_on_record() -> None:
    store = Store()
    store.ingest([message("Hello", 1)])
    store.contact()["consent"] = {"state": "opted_in", "at": at(10), "source": "shop form"}
    assert len(store.ingest([message("stop", 5)]).confirmations) == 1
    assert store.contact()["consent"]["state"] == "opted_out"


@pytest.mark.parametrize(("noted", "state"), [(10, "opted_out"), (2, "opted_in")])
def test_a_start_word_takes_back_only_an_opt_out_from_before_it(noted: int, state: str) -> None:
    store = Store()
    store.ingest([message("Hello", 1)])
    store.contact()["consent"] = {"state": "opted_out", "at": at(noted), "source": "said so by phone"}
    store.ingest([message("start", 5)])
    assert store.contact()["consent"]["state"] == state


def test_an_account_heeds_its_own_words_and_says_its_own_confirmation() -> None:
    account = AccountKey("a1", "m1", "100", words_of(["basta"], None), "Fatto.")
    ingestion = Ingestion(NOW, lambda: f"id{next(_NUMBERS)}")
    for event in (message("quit", 1), message("Basta!", 2)):
        ingestion.take(account, event)
    (confirmation,) = ingestion.confirmations
    assert confirmation["content"] == "Fatto."


def test_an_opt_out_is_noted_of_the_campaign_that_it_answers() -> None:
    store = Store()
    store.ingest([message("Hello", 0)])
    sent = {name: name for name in ("recipientId", "merchantId", "accountId", "campaignId", "runId", "variant")}
    store.contact()["recentCampaigns"] = [{**sent, "at": at(1), "until": at(60)}]
    notes = store.ingest([message("stop", 2), message("stop", 3)]).notes
    assert sorted((note.outcome, note.at) for note in notes) == [("optedOut", at(2)), ("replied", at(2))]


def test_an_echo_of_a_stop_word_is_nobodys_opt_out() -> None:
    store = Store()
    assert store.ingest([message("stop", 1, outbound=True)]).confirmations == []
    assert store.contact()["consent"]["state"] == "none"


def test_a_block_suppresses_until_it_is_lifted_or_the_contact_writes() -> None:
    store = Store()
    store.ingest([other(EventKind.BLOCK, 1)])
    assert store.contact()["suppression"] == {"reason": "blocked", "at": at(1)}
    store.ingest([other(EventKind.UNBLOCK, 2)])
    assert store.contact()["suppression"] is None
    store.ingest([other(EventKind.BLOCK, 3), message("I am back", 4)])
    assert store.contact()["suppression"] is None
    # Came late: they have written since.
    store.ingest([other(EventKind.BLOCK, 3.5)])
    assert store.contact()["suppression"] is None
    store.ingest([other(EventKind.BLOCK, 6), message("Written before the block", 5)])
    assert store.contact()["suppression"] == {"reason": "blocked", "at": at(6)}


@given(st.lists(st.tuples(st.sampled_from(["hi", "stop", "start"]), st.integers(0, 20)), max_size=8), st.data())
def test_consent_is_what_was_said_last_however_the_batches_are_cut(
    said: list[tuple[str, int]], data: st.DataObject
) -> None:
    in_order = sorted({minutes: word for word, minutes in said}.items())
    events = [message(word, minutes) for minutes, word in in_order]
    cut = data.draw(st.integers(0, len(events)))
    store = Store()
    confirmations = [m for part in (events[:cut], events[cut:]) for m in store.ingest(part).confirmations]
    words = [word for _, word in in_order if word != "hi"]
    turns = [word for word, before in zip(words, ["start", *words], strict=False) if word != before]
    assert len(confirmations) == turns.count("stop")
    if events:
        expected = {"stop": "opted_out", "start": "opted_in"}[words[-1]] if words else "inbound"
        assert store.contact()["consent"]["state"] == expected


def test_an_answer_of_a_person_reads_what_came_before_it() -> None:
    store = Store()
    store.ingest([message("one", 0), message("two", 1)])
    assert store.conversation()["unreadCount"] == 2
    store.ingest([message("answer", 2, outbound=True)])
    assert store.conversation()["unreadCount"] == 0


@pytest.mark.parametrize("size", [1, 4])
def test_what_came_after_an_answer_is_unread_whatever_batch_it_is_in(size: int) -> None:
    store = Store()
    store.ingest([message("before", -1)])
    events = [message("one", 0), message("answer", 2, outbound=True), message("two", 3), message("three", 4)]
    for start in range(0, len(events), size):
        store.ingest(events[start : start + size])
    assert store.conversation()["unreadCount"] == 2


def test_an_answer_from_before_the_last_message_reads_nothing() -> None:
    store = Store()
    store.ingest([message("one", 0), message("two", 5), message("answer", 2, outbound=True)])
    assert store.conversation()["unreadCount"] == 2


@pytest.mark.parametrize(("source", "unread"), [("agent", 0), ("campaign", 1), ("bot", 1)])
def test_only_people_read(source: str, unread: int) -> None:
    store = Store()
    store.ingest([message("one", 0)])
    seen(Draft(store.conversation(), is_new=True), source, at(1))
    assert store.conversation()["unreadCount"] == unread
