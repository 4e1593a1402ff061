"""The Liquid that templates are written in: what is allowed, and how much work a template may make.

Templates are written by people who need not be trusted: a template can reach nothing but the values that it is given,
and every kind of growth has an end. Loops, nesting, output and local names are limited by the language's environment;
what a filter takes and makes is limited here, before it is made; and each look at a value and each use of a filter is a
step, of which a rendering has a fixed number. There is no loader and no tag that would use one.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import ClassVar, TextIO, TypeAlias

from liquid import BoundTemplate, Environment, Mode, RenderContext, Token
from liquid.builtin.output import Output, OutputNode
from liquid.exceptions import FilterArgumentError, ResourceLimitError
from liquid.filter import with_context
from liquid.stringify import to_liquid_string
from liquid.undefined import UNDEFINED, FalsyStrictUndefined, Undefined
from liquid.utils import ReadOnlyChainMap

#: Characters of any text within a rendering.
LONGEST_VALUE = 20_000
#: Entries of any list within a rendering.
MOST_ENTRIES = 1_000
#: Looks at values and uses of filters of one rendering.
MOST_STEPS = 10_000
_CHARACTERS_A_STEP = 500
_GREATEST_NUMBER = 10**15

_TAGS = frozenset(
    {"if", "unless", "case", "for", "break", "continue", "assign", "capture", "comment", "#"}
    # What the parser itself makes of text, of outputs and of tags that it does not know.
    | {"content", "output", "illegal"}
)
_TEXT_FILTERS = frozenset(
    {"append", "prepend", "capitalize", "downcase", "upcase", "strip", "lstrip", "rstrip", "strip_newlines", "squish"}
    | {"replace_first", "remove", "remove_first", "slice", "split", "truncate", "truncatewords"}
    | {"url_encode", "url_decode"}
)
_LIST_FILTERS = frozenset(
    {"first", "last", "reverse", "size", "uniq", "compact", "concat", "sort", "sort_natural", "default"}
)
_NUMBER_FILTERS = frozenset(
    {"abs", "plus", "minus", "times", "divided_by", "modulo", "round", "ceil", "floor", "at_least", "at_most"}
)
_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?")
_DATE_PART = re.compile(r"%(-?.?)", re.DOTALL)
_DATE_PARTS = frozenset("YymdHIMSpBbAaj")
_NOT_PADDED = frozenset("mdHIMSj")

_Filter: TypeAlias = Callable[..., object]


class _Context(RenderContext):
    """The values of one rendering, and how many steps are left of it."""

    __slots__ = ("_steps",)

    def __init__(self, template: BoundTemplate, **options: object) -> None:
        super().__init__(template, **options)  # type: ignore[arg-type]  # as the library calls its own
        # Without the library's `now` and `today`, which are no value that was given.
        self.scope = ReadOnlyChainMap(self.locals, self.globals, self.counters)
        self._steps = MOST_STEPS

    def get(self, path: list[object], *, token: Token | None, default: object = UNDEFINED) -> object:
        self.spend(1)
        found = super().get(path, token=token, default=_NOWHERE)
        if found is not _NOWHERE:
            return found
        if default is not UNDEFINED:
            return default
        name = ".".join(str(part) for part in path)
        return FalsyStrictUndefined(name, token=token, hint=name)

    def spend(self, steps: int) -> None:
        """Count some steps.

        Raises:
            ResourceLimitError: when there are no more.
        """
        self._steps -= steps
        if self._steps < 0:
            raise ResourceLimitError("takes too many steps", token=None)


class _Template(BoundTemplate):
    context_class = _Context


class TemplateEnvironment(Environment):
    """Liquid with every limit set."""

    template_class = _Template
    block_nesting_limit: ClassVar[int] = 10
    context_depth_limit: ClassVar[int] = 20
    loop_iteration_limit: ClassVar[int | None] = 300
    local_namespace_limit: ClassVar[int | None] = 200_000
    output_stream_limit: ClassVar[int | None] = 4 * LONGEST_VALUE

    def __init__(self) -> None:
        super().__init__(tolerance=Mode.STRICT, undefined=FalsyStrictUndefined, strict_filters=True)
        self.tags = {name: tag for name, tag in self.tags.items() if name in _TAGS}
        known = self.filters
        self.filters = {
            **{name: _guarded(known[name]) for name in _TEXT_FILTERS | _LIST_FILTERS},
            **{name: _guarded(partial(_of_numbers, known[name])) for name in _NUMBER_FILTERS},
            "sum": _guarded(partial(_of_entries, known["sum"])),
            "replace": _guarded(_replace),
            "join": _guarded(_join),
            # The library's own ask its environment whether texts are HTML; ours are not.
            "escape": _guarded(lambda value: html.escape(_text(value))),
            "escape_once": _guarded(lambda value: html.escape(html.unescape(_text(value)))),
            "newline_to_br": _guarded(lambda value: _text(value).replace("\r\n", "\n").replace("\n", "<br />\n")),
            "date": _guarded(_date),
        }


class EscapingEnvironment(TemplateEnvironment):
    """Liquid whose outputs are made fit for what is around them: what fills a gap stays within it."""

    def __init__(self, escape: Callable[[str], str]) -> None:
        super().__init__()
        self.escape = escape
        self.tags["output"] = _EscapingOutput(self)


class _EscapingNode(OutputNode):
    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        text = to_liquid_string(self.expression.evaluate(context), False)
        environment = context.env
        return buffer.write(environment.escape(text) if isinstance(environment, EscapingEnvironment) else text)


class _EscapingOutput(Output):
    node_class = _EscapingNode


_NOWHERE = object()


def _guarded(apply: _Filter) -> _Filter:
    """Return a filter that takes and makes nothing beyond the limits."""

    @with_context
    def guarded(value: object, *arguments: object, context: _Context, **named: object) -> object:
        given = [_listed(each) for each in (value, *arguments)]
        context.spend(1 + sum(_size(each) for each in (*given, *named.values())) // _CHARACTERS_A_STEP)
        made = _listed(apply(*given, **named))
        _size(made)
        return made

    return guarded


def _listed(value: object) -> object:
    if isinstance(value, range):
        if len(value) > MOST_ENTRIES:
            raise ResourceLimitError("has too long a range", token=None)
        return list(value)
    return value


def _size(value: object) -> int:
    """Return how large a value is, in characters.

    Raises:
        ResourceLimitError: when it is over a limit.
    """
    match value:
        case str():
            size = len(value)
        case list() | tuple():
            if len(value) > MOST_ENTRIES:
                raise ResourceLimitError("has too long a list", token=None)
            size = sum(_size(each) for each in value)
        case bool() | None:
            size = 1
        case int() | float() | Decimal():
            if not -_GREATEST_NUMBER <= value <= _GREATEST_NUMBER:
                raise ResourceLimitError("has too great a number", token=None)
            size = 1
        case Undefined():
            size = 1
        case _:
            raise FilterArgumentError("uses a filter on what is neither text nor number nor list", token=None)
    if size > LONGEST_VALUE:
        raise ResourceLimitError("has too long a text", token=None)
    return size


def _of_numbers(apply: _Filter, *values: object) -> object:
    # The library would read "1e999999999" and work out all its digits.
    for value in values:
        if isinstance(value, str) and not _NUMBER.fullmatch(value):
            raise FilterArgumentError("uses a filter for numbers on a text", token=None)
        if isinstance(value, Undefined):
            str(value)  # names the variable that is missing
    return apply(*values)


def _of_entries(apply: _Filter, entries: object) -> object:
    return _of_numbers(lambda *numbers: apply(numbers), *(entries if isinstance(entries, list | tuple) else (entries,)))


def _replace(value: object, old: object, new: object = "") -> str:
    text, sought, put = _text(value), _text(old), _text(new)
    if len(text) + text.count(sought) * (len(put) - len(sought)) > LONGEST_VALUE:
        raise ResourceLimitError("has too long a text", token=None)
    return text.replace(sought, put)


def _join(value: object, separator: object = " ") -> str:
    entries = [_text(each) for each in value] if isinstance(value, list | tuple) else [_text(value)]
    between = _text(separator)
    if sum(map(len, entries)) + len(entries) * len(between) > LONGEST_VALUE:
        raise ResourceLimitError("has too long a text", token=None)
    return between.join(entries)


def _date(value: object, form: object) -> str:
    """Return a date or time, written as ISO 8601 has it, in another form; only the usual parts of it are known."""
    try:
        moment = datetime.fromisoformat(_text(value))
    except ValueError:
        raise FilterArgumentError("uses the filter `date` on what is no date", token=None) from None

    def part(found: re.Match[str]) -> str:
        plain, name = found[1].startswith("-"), found[1].removeprefix("-")
        if name == "%" and not plain:
            return "%"
        if name not in _DATE_PARTS or (plain and name not in _NOT_PADDED):
            raise FilterArgumentError("has a form of date that is not known", token=None)
        shown = moment.strftime(f"%{name}")
        return shown.lstrip("0") or "0" if plain else shown

    return _DATE_PART.sub(part, _text(form))


def _text(value: object) -> str:
    return "" if value is None else str(value)
