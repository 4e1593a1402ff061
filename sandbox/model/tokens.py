"""How many tokens a text would be: an estimate, the same for every model, good enough for budgets and limits."""

from __future__ import annotations

#: Bytes of English text that one token stands for, by OpenAI's rule of thumb.
_BYTES_A_TOKEN = 4


def count(text: str) -> int:
    """Return the number of tokens of `text`, at least 1 where there is any text."""
    return -(-len(text.encode()) // _BYTES_A_TOKEN)


def cut(text: str, tokens: int) -> str:
    """Return the beginning of `text` that is `tokens` long; no character is cut in two."""
    return text.encode()[: tokens * _BYTES_A_TOKEN].decode(errors="ignore")
