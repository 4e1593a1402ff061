"""The language of segments: conditions as people write them, checked, and as the rest of the program reads them.

A list of conditions is all-of. A condition is `{"field", "operator", "value"}`, or a group: `{"any": […]}`,
`{"all": […]}`, `{"not": …}`, nested to a depth of 5. What is read has fewer operators than what is written: a negation
is `Not` of its opposite, so that it holds for contacts that lack the field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from domain.contact_fields import LONGEST_DISPLAY_NAME, LONGEST_TEXT, attribute_value, folded_tag
from domain.errors import InvalidContent, Problem
from domain.segment_fields import (
    CAMPAIGN_EVENTS,
    CONSENT_STATES,
    FITTING,
    NEGATIONS,
    Field,
    Kind,
    Operator,
    field_named,
)
from domain.segment_moments import Length, last_moment, read_length, read_moment

MOST_CONDITIONS = 100
MOST_VALUES = 100
DEEPEST = 5
_GROUPS = frozenset({"any", "all", "not"})
_NAMES = frozenset({"field", "operator", "value"})
_LONGEST_NAME = 64
_READ_AS: Mapping[Operator, Operator] = {
    Operator.EQUALS: Operator.IN,
    Operator.AFTER: Operator.GREATER_THAN,
    Operator.BEFORE: Operator.LESS_THAN,
}

Plain: TypeAlias = str | int | float | bool
Value: TypeAlias = Plain | datetime | Length | tuple[Plain, ...] | None


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison: `in` (of several values), parts of text, `exists`, an order, or `withinLast`."""

    field: Field
    operator: Operator
    value: Value = None


@dataclass(frozen=True, slots=True)
class All:
    """Holds where every part does; without parts always."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """Holds where at least one part does."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Holds where its part does not."""

    part: Node


Node: TypeAlias = Condition | All | Either | Not


def read_conditions(given: object, path: str = "conditions") -> All:
    """Return a list of conditions, read and checked.

    Raises:
        InvalidContent: naming everything that is wrong by its path, as in `conditions.0.any.1.value`.
    """
    reader = _Reader()
    parts = reader.parts(given, path, depth=0)
    if reader.problems:
        raise InvalidContent("The conditions are wrong", problems=tuple(reader.problems))
    return All(parts)


def conditions_of(node: Node) -> Iterator[Condition]:
    """Yield every comparison in a tree."""
    match node:
        case Condition():
            yield node
        case Not(part):
            yield from conditions_of(part)
        case All(parts) | Either(parts):
            for part in parts:
                yield from conditions_of(part)


def required_conditions(node: Node) -> Iterator[Condition]:
    """Yield the comparisons that must hold wherever the tree does."""
    match node:
        case Condition():
            yield node
        case All(parts):
            for part in parts:
                yield from required_conditions(part)
        case Either() | Not():
            return


class _Misread(Exception):
    """One thing that is wrong."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.problem = Problem(path, reason)


class _Reader:
    """Reads one list of conditions and notes everything that is wrong with it."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._count = 0

    def parts(self, given: object, path: str, depth: int) -> tuple[Node, ...]:
        if not isinstance(given, list) or (depth and not given):
            self.problems.append(Problem(path, "must be a list of conditions"))
            return ()
        if self._count + len(given) > MOST_CONDITIONS:
            self.problems.append(Problem(path, f"makes more than {MOST_CONDITIONS} conditions"))
            return ()
        read = [self._noted(each, f"{path}.{index}", depth) for index, each in enumerate(given)]
        return tuple(node for node in read if node is not None)

    def _noted(self, given: object, path: str, depth: int) -> Node | None:
        self._count += 1
        try:
            return self._node(given, path, depth)
        except _Misread as wrong:
            self.problems.append(wrong.problem)
            return None

    def _node(self, given: object, path: str, depth: int) -> Node | None:
        if not isinstance(given, dict):
            raise _Misread(path, "must be a condition")
        group = given.keys() & _GROUPS
        for name in given.keys() - (group or _NAMES):
            raise _Misread(f"{path}.{str(name)[:_LONGEST_NAME]}", "is not known")
        if not group:
            return _condition(given, path)
        if len(group) > 1:
            raise _Misread(path, "must be one of any, all and not")
        if depth == DEEPEST:
            raise _Misread(path, f"is nested deeper than {DEEPEST}")
        return self._group(group.pop(), given, path, depth + 1)

    def _group(self, name: str, given: Mapping[str, object], path: str, depth: int) -> Node | None:
        inner = f"{path}.{name}"
        if name == "not":
            part = self._noted(given[name], inner, depth)
            return None if part is None else Not(part)
        parts = self.parts(given[name], inner, depth)
        return Either(parts) if name == "any" else All(parts)


def _condition(given: Mapping[str, object], path: str) -> Node:
    name, operator = given.get("field"), given.get("operator")
    field = field_named(name) if isinstance(name, str) else None
    if field is None:
        raise _Misread(f"{path}.field", "is no field of a contact")
    if not isinstance(operator, str) or operator not in set(Operator):
        raise _Misread(f"{path}.operator", "is no operator")
    asked = Operator(operator)
    if asked not in FITTING[field.kind]:
        raise _Misread(f"{path}.operator", f"does not fit the field {name}")
    try:
        node = _comparison(field, NEGATIONS.get(asked, asked), given.get("value"))
    except ValueError as error:
        raise _Misread(f"{path}.value", str(error)) from None
    return Not(node) if asked in NEGATIONS else node


def _comparison(field: Field, operator: Operator, value: object) -> Node:
    """Return what an operator, no negation, and its value say about a field.

    Raises:
        ValueError: when the value is none for it, with a reason to show.
    """
    if operator is Operator.BETWEEN:
        return _between(field, value)
    if field.kind is Kind.TAGS and operator is Operator.CONTAINS:
        operator = Operator.EQUALS
    return Condition(field, _READ_AS.get(operator, operator), _value(field.kind, operator, value))


def _value(kind: Kind, operator: Operator, value: object) -> Value:
    read: Value
    match operator:
        case Operator.EXISTS:
            _check_absent(value)
            read = None
        case Operator.EQUALS:
            read = (_plain(kind, value),)
        case Operator.IN:
            read = tuple(_plain(kind, each) for each in _several(value))
        case Operator.WITHIN_LAST:
            read = _length(value)
        case Operator.BEFORE | Operator.AFTER:
            read = _moment(value)
        case Operator.CONTAINS | Operator.STARTS_WITH | Operator.ENDS_WITH:
            read = _text(value, kind)
        case _:
            read = _ordered(kind, value, read_moment)
    return read


def _between(field: Field, value: object) -> All:
    if not isinstance(value, list) or len(value) != 2:  # noqa: PLR2004  # both ends
        raise ValueError("must be a list of two: the least and the greatest")
    least, most = _ordered(field.kind, value[0], read_moment), _ordered(field.kind, value[1], last_moment)
    if isinstance(least, datetime) is not isinstance(most, datetime):
        raise ValueError("must be two numbers or two times")
    return All(
        (
            Condition(field, Operator.GREATER_THAN_OR_EQUAL, least),
            Condition(field, Operator.LESS_THAN_OR_EQUAL, most),
        )
    )


def _check_absent(value: object) -> None:
    if value not in (None, True):
        raise ValueError("must not be given")


def _length(value: object) -> Length:
    length = read_length(value) if isinstance(value, str) else None
    if length is None:
        raise ValueError("must be a duration as in P7D or PT12H, up to a hundred years")
    return length


def _several(value: object) -> list[object]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_VALUES:
        raise ValueError(f"must be a list of 1 to {MOST_VALUES}")
    return value


def _plain(kind: Kind, value: object) -> Plain:
    match kind:
        case Kind.TEXT | Kind.NAME:
            return _text(value, kind)
        case Kind.NUMBER:
            return _number(value)
        case Kind.TAGS:
            return folded_tag(_text(value))
        case Kind.CONSENT:
            return _one_of(value, CONSENT_STATES)
        case Kind.CAMPAIGN:
            return _one_of(value, CAMPAIGN_EVENTS)
        case Kind.ATTRIBUTE:
            plain = None if isinstance(value, list) else attribute_value(value)
            if plain is None or isinstance(plain, list):
                raise ValueError("must be text, a number or a boolean")
            return plain
        case Kind.TIME:
            raise ValueError("must be a time")


def _ordered(kind: Kind, value: object, moment_of: Callable[[str], datetime | None]) -> int | float | datetime:
    if kind is Kind.TIME or (kind is Kind.ATTRIBUTE and isinstance(value, str)):
        return _moment(value, moment_of)
    return _number(value)


def _moment(value: object, moment_of: Callable[[str], datetime | None] = read_moment) -> datetime:
    moment = moment_of(value) if isinstance(value, str) else None
    if moment is None:
        raise ValueError("must be a time as in 2026-01-18T10:00:00Z, or a date as in 2026-01-18")
    return moment


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number")  # noqa: TRY004  # a wrong value of the request, as the others
    attribute_value(value)  # as large as the database keeps it
    return value


def _text(value: object, kind: Kind = Kind.TEXT) -> str:
    # A name makes a pattern with several characters for each of it, whose size has a limit in the database.
    most = LONGEST_DISPLAY_NAME if kind is Kind.NAME else LONGEST_TEXT
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise ValueError(f"must be text of 1 to {most} characters")
    attribute_value(value)
    return value


def _one_of(value: object, known: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in known:
        raise ValueError(f"must be one of {', '.join(known)}")
    return value
