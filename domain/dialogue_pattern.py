"""Patterns for the values of a tool's parameters: regular expressions that can't take long.

A value comes from a customer, by way of a model, and a pattern from a merchant: a pattern with nested repetition would
let the one stop the process of all merchants (OWASP, "Regular expression Denial of Service"). So a pattern is a row of
characters and character classes, each with a repetition or not, without groups, choices and references, and few of its
repetitions are open.
"""

from __future__ import annotations

import re

LONGEST_PATTERN = 200
#: Parts whose length is not fixed: the time a match takes grows with the length of the value to this power.
_MOST_OPEN = 3
_PART = re.compile(
    r"(?:\[\^?(?:\\[dDwWsS\\\].^/\-]|[^\]\[\\])+\]"  # a class
    r"|\\[dDwWsS.\\/\-+*?()\[\]{}|^$#]"  # a short form, or a character that stands for itself
    r"|[^\\\[\](){}|.^$*+?\x00-\x1f\x7f])"  # a character
    r"(\{\d{1,3}(?:,\d{0,3})?\}|[*+?])?"
)
_FIXED = re.compile(r"\{(\d+)(?:,\1)?\}")


def pattern_problem(pattern: str) -> str | None:
    """Return why a pattern can't be used, None where it can."""
    if not pattern or len(pattern) > LONGEST_PATTERN:
        return f"must have 1 to {LONGEST_PATTERN} characters"
    position, is_open = 0, 0
    while position < len(pattern):
        part = _PART.match(pattern, position)
        if part is None:
            return "must be characters, classes and repetitions alone, without groups and choices"
        is_open += part[1] is not None and not _FIXED.fullmatch(part[1])
        position = part.end()
    if is_open > _MOST_OPEN:
        return f"must have at most {_MOST_OPEN} repetitions of open length"
    try:
        re.compile(pattern, re.ASCII)
    except re.error:
        return "is no regular expression"
    return None


def fits(pattern: str, value: str) -> bool:
    """Whether a whole value is what a pattern describes."""
    return re.fullmatch(pattern, value, re.ASCII) is not None
