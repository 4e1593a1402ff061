"""What of a conversation's messages is new to the chatbot: what it has to answer, and what has been said besides."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.dialogue_turns import Turn

#: Sources of messages after which a customer does not wait any more for an answer to what came before.
_ANSWERS = frozenset({"agent", "native", "bot"})
#: Sources of messages that are no part of what is talked about.
_ASIDE = frozenset({"consent", "test"})


@dataclass(frozen=True, slots=True)
class Heard:
    """What is new to a session.

    `texts` is what waits for an answer, as `waiting` has it in turns; `before` is what else was said. `message_ids` and
    `waiting_ids` are the messages of these. `is_readable` says whether there is a word in what waits.
    """

    before: tuple[Turn, ...]
    waiting: tuple[Turn, ...]
    message_ids: tuple[str, ...]
    waiting_ids: tuple[str, ...]
    is_readable: bool

    @property
    def texts(self) -> tuple[str, ...]:
        """What waits for an answer."""
        return tuple(turn.content for turn in self.waiting)


def heard(messages: Sequence[Mapping[str, Any]], known_ids: Collection[str]) -> Heard:
    """Return what is new in a conversation.

    Args:
        messages: its newest messages, oldest first.
        known_ids: those that the session has already.
    """
    new = [each for each in messages if each["_id"] not in known_ids and _counts(each)]
    answered = max((index for index, each in enumerate(new) if each["source"] in _ANSWERS), default=-1)
    waiting = [each for index, each in enumerate(new) if index > answered and each["direction"] == "inbound"]
    ids = {each["_id"] for each in waiting}
    before = [each for each in new if each["_id"] not in ids]
    return Heard(
        before=tuple(map(_turn, before)),
        waiting=tuple(map(_turn, waiting)),
        message_ids=tuple(each["_id"] for each in before),
        waiting_ids=tuple(each["_id"] for each in waiting),
        is_readable=any(each["content"].strip() for each in waiting),
    )


def _counts(message: Mapping[str, Any]) -> bool:
    return message["source"] not in _ASIDE and message["status"] not in {"failed", "erased"}


def _turn(message: Mapping[str, Any]) -> Turn:
    role = "user" if message["direction"] == "inbound" else "assistant"
    # The model sees no pictures; it is told that there was one.
    shown = [message["content"], *(f"[{each['type']}]" for each in message.get("attachments", []))]
    return Turn(role, "\n".join(filter(str.strip, shown)), message["at"])  # type: ignore[arg-type]
