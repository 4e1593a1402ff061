"""Stop words, start words, and who gets nothing automatic."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.consent import DEFAULT_WORDS, SUPPRESSING, normalised, refusal, words_of
from domain.consent_words import ALWAYS_STOP, START_WORDS, STOP_WORDS
from domain.x_errors import FailureKind, classify

_AROUND = st.text(alphabet="!.,;:?*\"'“”«»()-… \t\n👋🛑✋🏽🙏\ufe0f\u200d\u200b。\uff01", max_size=8)


@given(st.sampled_from(STOP_WORDS), _AROUND, _AROUND, st.sampled_from([str.upper, str.lower, str]))
def test_a_stop_word_is_heeded_however_it_is_written(
    word: str, before: str, after: str, cased: Callable[[str], str]
) -> None:
    assert DEFAULT_WORDS.asked_by(before + cased(word) + after) == "stop"


@given(st.sampled_from(START_WORDS), _AROUND, _AROUND)
def test_a_start_word_is_heeded_however_it_is_written(word: str, before: str, after: str) -> None:
    assert DEFAULT_WORDS.asked_by(before + word + after) == "start"


@pytest.mark.parametrize(
    "text",
    [
        "\uff33\uff34\uff2f\uff30",
        "s.t.o.p",
        "S T O P",
        "stop stop stop",
        "Opt-out",
        "arrêt",
        "ABONELİKTEN ÇIK",
        "abonelikten ç\u0131k",
        "dừng",
    ],
)
def test_width_accents_and_repetition_do_not_hide_a_stop_word(text: str) -> None:
    assert DEFAULT_WORDS.asked_by(text) == "stop"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "🛑",
        "Where does the bus stop?",
        "acha",
        "stop selling this",
        "don't stop",
        "stopwatch",
        "stop " * 50,
        "started",
    ],
)
def test_what_is_more_than_a_stop_word_is_an_ordinary_message(text: str) -> None:
    assert DEFAULT_WORDS.asked_by(text) is None


@given(st.sampled_from(STOP_WORDS), st.sampled_from(["order", "7", "заказ", "注文"]))
def test_a_word_more_makes_it_an_ordinary_message(word: str, more: str) -> None:
    assert DEFAULT_WORDS.asked_by(f"{word} {more}") is None


@given(st.text())
def test_a_text_in_its_one_form_stays_as_it_is(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


def test_an_account_has_words_of_its_own() -> None:
    words = words_of(["Basta così"], ["Ancora"])
    assert words.asked_by("BASTA COSI!") == "stop"
    assert words.asked_by("ancora") == "start"
    assert words.asked_by("quit") is None
    assert words.asked_by("start") is None


@pytest.mark.parametrize("word", ALWAYS_STOP)
def test_an_opt_out_is_always_easy(word: str) -> None:
    assert words_of(["basta"], [word]).asked_by(word) == "stop"


@pytest.mark.parametrize(
    ("state", "suppressed", "require_consent", "reason"),
    [
        ("none", False, False, None),
        ("none", False, True, "no_consent"),
        ("inbound", False, True, None),
        ("opted_in", False, True, None),
        ("opted_out", False, False, "opted_out"),
        ("opted_out", True, True, "opted_out"),
        ("opted_in", True, False, "blocked"),
        ("none", True, True, "blocked"),
    ],
)
def test_who_gets_nothing_automatic(state: str, suppressed: bool, require_consent: bool, reason: str | None) -> None:
    contact = {"consent": {"state": state}, "suppression": {"reason": "blocked"} if suppressed else None}
    assert refusal(contact, require_consent=require_consent) == reason


def test_what_suppresses_a_contact_are_refusals_of_a_recipient() -> None:
    found = set[str]()
    for code in range(1, 500):
        body = f'{{"errors": [{{"code": {code}, "message": "no"}}]}}'.encode()
        failure = classify(403, body, {}, datetime(2026, 1, 1, tzinfo=UTC), send=True)
        if failure.kind is FailureKind.RECIPIENT:
            found.add(failure.reason)
    assert found == SUPPRESSING
