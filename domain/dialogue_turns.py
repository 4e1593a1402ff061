"""What was said in a dialogue, and how much of it the model is shown.

Tokens are estimated, on the safe side: what a tokenizer makes of a text depends on the model, and models of several
makers are used. English has about four characters to a token; other scripts have more tokens than that, up to one a
byte (OpenAI's help, "What are tokens and how to count them").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["user", "assistant"]

#: What a message costs beside its text.
TOKENS_A_TURN = 4
_ASCII_A_TOKEN = 3
_BYTES_A_TOKEN = 2


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said: the customer (`user`), or the chatbot and people of the merchant (`assistant`)."""

    role: Role
    content: str
    at: datetime


def tokens_of(text: str) -> int:
    """Return how many tokens a text is estimated to be; a longer text never has fewer."""
    ascii_characters = sum(map(str.isascii, text))
    others = len(text.encode("utf-8", "surrogatepass")) - ascii_characters
    return -(-ascii_characters // _ASCII_A_TOKEN) + -(-others // _BYTES_A_TOKEN)


def cut(text: str, tokens: int) -> str:
    """Return the longest beginning of a text that is estimated at no more than so many tokens."""
    if tokens_of(text) <= tokens:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if tokens_of(text[:middle]) <= tokens:
            low = middle
        else:
            high = middle - 1
    return text[:low]


def cost(turns: Iterable[Turn]) -> int:
    """Return how many tokens turns are estimated to be, together with what each costs beside its text."""
    return sum(TOKENS_A_TURN + tokens_of(turn.content) for turn in turns)


def bounded(turns: Sequence[Turn], tokens: int) -> tuple[Turn, ...]:
    """Return the newest turns, in their order, that together are estimated at no more than so many tokens.

    The oldest are dropped first. Where not even the newest fits, its beginning is what is left.
    """
    kept: list[Turn] = []
    left = tokens
    for turn in reversed(turns):
        price = TOKENS_A_TURN + tokens_of(turn.content)
        if price > left:
            break
        kept.insert(0, turn)
        left -= price
    if kept or not turns or tokens < TOKENS_A_TURN:
        return tuple(kept)
    return (replace(turns[-1], content=cut(turns[-1].content, tokens - TOKENS_A_TURN)),)
