from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account_key import AccountKey
from domain.bot_context import heard
from domain.bot_rules import NO_BOT, BotRules, standing
from domain.bot_turn import BotTurns
from domain.draft import Draft

NOW = datetime(2026, 1, 19, 12, tzinfo=UTC)
CLOSED: dict[str, Any] = {"enabled": True, "timezone": "UTC", "schedule": {}, "awayMessage": "Back soon"}
ACCOUNT: dict[str, Any] = {"_id": "a1", "autoReplyEnabled": False, "businessHours": {"enabled": False}}
CONTACT: dict[str, Any] = {"consent": {"state": "inbound"}}


def conversation(**fields: object) -> dict[str, Any]:
    return {"_id": "c1", "status": "open", **fields}


def rules(account: dict[str, Any] | None = None, **settings: object) -> BotRules:
    return BotRules.of(ACCOUNT | (account or {}), {"enabled": True} | settings)


AWAY = {"autoReplyEnabled": True, "businessHours": CLOSED}
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("known", "contact", "chosen", "expected"),
    [
        (conversation(), CONTACT, rules(), "answer"),
        (conversation(), CONTACT, rules(accountIds=["a1"]), "answer"),
        (conversation(), CONTACT, rules(accountIds=["a2"]), "disabled"),
        (conversation(), CONTACT, rules(enabled=False), "disabled"),
        (conversation(), CONTACT, BotRules.of(ACCOUNT, None), "disabled"),
        (conversation(status="closed"), CONTACT, rules(AWAY), "closed"),
        (conversation(), {"consent": {"state": "opted_out"}}, rules(AWAY), "opted_out"),
        (conversation(escalated=True), CONTACT, rules(), "escalated"),
        (conversation(escalated=False), CONTACT, rules(), "answer"),
        (conversation(escalated=True), CONTACT, rules(AWAY), "away"),
        (conversation(personAnsweredAt=NOW - 60 * MINUTE), CONTACT, rules(), "answer"),
        (conversation(personAnsweredAt=NOW - 59 * MINUTE), CONTACT, rules(AWAY), "person"),
        (conversation(personAnsweredAt=NOW - 5 * MINUTE), CONTACT, rules(humanSilenceSeconds=300), "answer"),
        (conversation(personAnsweredAt=None), CONTACT, rules(), "answer"),
        (conversation(), CONTACT, rules(AWAY), "answer"),
        (conversation(), CONTACT, rules(AWAY, respectBusinessHours=True), "away"),
        (conversation(awaySentAt=NOW), CONTACT, rules(AWAY, respectBusinessHours=True), "out_of_hours"),
        (conversation(), CONTACT, rules(AWAY | {"autoReplyEnabled": False}, respectBusinessHours=True), "out_of_hours"),
        (conversation(), CONTACT, rules(AWAY, enabled=False), "away"),
        (conversation(), CONTACT, BotRules.of(ACCOUNT | AWAY, None), "away"),
        (conversation(), CONTACT, rules({"autoReplyEnabled": True}, respectBusinessHours=True), "answer"),
    ],
)
def test_what_the_chatbot_may_do(
    known: dict[str, Any], contact: dict[str, Any], chosen: BotRules, expected: str
) -> None:
    assert standing(known, contact, chosen, NOW) == expected


def test_an_account_with_nothing_set_has_no_bot() -> None:
    assert BotRules.of({"_id": "a1"}, None) == BotRules.of(ACCOUNT, None) == NO_BOT
    assert hash(rules(AWAY)) == hash(rules(AWAY))


# --- what falls due


def turns(*texts: str, known: dict[str, Any], taken: frozenset[str] = frozenset()) -> tuple[Draft, frozenset[str]]:
    account, draft = AccountKey("a1", "m1", "100", bot=rules()), Draft(known, is_new=False)
    found = BotTurns(NOW)
    for number, text in enumerate(texts):
        found.take(account, Draft(CONTACT, is_new=False), draft, {"_id": f"m{number}", "content": text})
    return draft, found.settle(taken)


def test_the_newest_message_falls_due_and_since_when_is_kept() -> None:
    draft, due = turns("Hi", "there", known=conversation())
    assert due == {"c1"}
    assert draft.changes == {"botDue": True, "botTurn": {"messageId": "m1", "at": NOW, "since": NOW}}
    earlier = {"messageId": "m", "at": NOW - MINUTE, "since": NOW - MINUTE}
    draft, _ = turns("Hi", known=conversation(botDue=True, botTurn=earlier))
    assert draft.changes["botTurn"] == {"messageId": "m0", "at": NOW, "since": NOW - MINUTE}


def test_what_a_flow_has_taken_does_not_fall_due() -> None:
    draft, due = turns("Hi", "there", known=conversation(), taken=frozenset({"m1"}))
    assert (due, draft.changes["botTurn"]["messageId"]) == ({"c1"}, "m0")
    draft, due = turns("Hi", known=conversation(), taken=frozenset({"m0"}))
    assert (due, draft.changes) == (frozenset(), {})


@pytest.mark.parametrize("text", ["STOP", "start", " Unsubscribe! "])
def test_a_word_about_consent_does_not_fall_due(text: str) -> None:
    assert turns(text, known=conversation())[1] == frozenset()


# --- what is new


def said(number: int, source: str = "customer", content: str | None = None, **fields: object) -> dict[str, Any]:
    direction = "inbound" if source == "customer" else "outbound"
    message = {"_id": f"m{number}", "source": source, "direction": direction, "status": "sent"}
    text = f"text {number}" if content is None else content
    return message | {"content": text, "attachments": [], "at": NOW + number * MINUTE} | fields


def test_what_waits_is_what_came_after_the_last_answer() -> None:
    new = heard([said(0), said(1, "agent"), said(2), said(3, "campaign"), said(4)], known_ids=())
    assert new.texts == ("text 2", "text 4")
    assert [(turn.role, turn.content) for turn in new.before] == [
        ("user", "text 0"),
        ("assistant", "text 1"),
        ("assistant", "text 3"),
    ]
    assert (new.message_ids, new.waiting_ids) == (("m0", "m1", "m3"), ("m2", "m4"))


def test_what_the_session_knows_and_what_was_never_said_is_left_out() -> None:
    new = heard(
        [said(0), said(1, "agent", status="failed"), said(2, "consent"), said(3, "test"), said(4)], known_ids={"m0"}
    )
    assert (new.before, new.texts) == ((), ("text 4",))


def test_what_is_no_text_is_named_and_counts_as_unread() -> None:
    picture = [{"type": "image", "url": "https://example.com/1.png"}]
    new = heard([said(0, content=" ", attachments=picture)], known_ids=())
    assert (new.texts, new.is_readable) == (("[image]",), False)
    new = heard([said(0, content="Look", attachments=picture)], known_ids=())
    assert (new.texts, new.is_readable) == (("Look\n[image]",), True)


_SOURCES = st.sampled_from(["customer", "agent", "native", "bot", "flow", "campaign", "consent", "test"])


@given(sources=st.lists(_SOURCES, max_size=12), known=st.sets(st.integers(0, 11)))
def test_every_new_message_is_taken_once_in_order_and_only_customers_wait(sources: list[str], known: set[int]) -> None:
    messages = [said(number, source) for number, source in enumerate(sources)]
    new = heard(messages, {f"m{number}" for number in known})
    expected = [
        f"m{number}"
        for number, source in enumerate(sources)
        if number not in known and source not in {"consent", "test"}
    ]
    taken = [*new.message_ids, *new.waiting_ids]
    assert sorted(taken) == sorted(expected)
    assert list(new.waiting_ids) == [each for each in expected if each in new.waiting_ids]
    assert all(turn.role == "user" for turn in new.waiting)
    again = heard(messages, {*taken, *(f"m{number}" for number in known)})
    assert (again.before, again.waiting) == ((), ())
