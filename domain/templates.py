"""What a template may be, and how it becomes a message (contract, part 5, "Templates")."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from liquid import BoundTemplate
from liquid.builtin.expressions.primitive import IntegerLiteral, RangeLiteral
from liquid.exceptions import LiquidError, UndefinedError
from liquid.expression import Expression

from domain.errors import InvalidContent, Problem
from domain.template_environment import MOST_ENTRIES, TemplateEnvironment

TemplateType: TypeAlias = Literal["text", "quick_reply", "card"]
#: What a variable may be filled with.
Value: TypeAlias = str | int | float | bool | Sequence[str] | None

#: Characters of a content, and of what it is rendered to: X takes no more in a direct message.
LONGEST_CONTENT = 10_000
MOST_VARIABLES = 100
MOST_OPTIONS = 20
MOST_BUTTONS = 3
LONGEST_LABEL = 36
LONGEST_DESCRIPTION = 72
LONGEST_METADATA = 1_000
LONGEST_URL = 2_048
VARIABLE_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,63}(\.[A-Za-z_][A-Za-z0-9_]{0,63})?"

#: What is filled without being given: fields of the contact, and of the account under its own name.
_CONTACT_FIELDS = frozenset({"name", "username"})
_GROUPS = frozenset({"attributes", "account"})
#: Parts of syntax in one content.
_MOST_PARTS = 600
_LONGEST_REASON = 200
_LONGEST_NAME = 64
_WEB = frozenset({"http", "https"})
_NO_SPACE = re.compile(r"[^\s\x00-\x1f\x7f]+")

_ENVIRONMENT = TemplateEnvironment()


@dataclass(frozen=True, slots=True)
class QuickReply:
    """An answer that the receiver can choose."""

    label: str
    description: str | None = None
    metadata: str | None = None


@dataclass(frozen=True, slots=True)
class Button:
    """A link below a message."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class TemplateDraft:
    """A template as somebody wants it; `variables` is nothing where they are to be found in the content."""

    type: TemplateType
    content: str
    variables: tuple[str, ...] | None = None
    options: tuple[QuickReply, ...] = ()
    buttons: tuple[Button, ...] = ()


@dataclass(frozen=True, slots=True)
class Fillings:
    """What a rendering fills in; what is given binds more than the account's fields, and those more than the contact's.

    A contact's `name` and `username` are missing where they are not known. Names of what is given may have one dot
    (`attributes.tier`).
    """

    contact: Mapping[str, Value]
    attributes: Mapping[str, object] = field(default_factory=dict)
    account: Mapping[str, Value] = field(default_factory=dict)
    given: Mapping[str, Value] = field(default_factory=dict)


#: What a preview is filled with beyond what is given.
SAMPLE = Fillings(
    contact={"name": "John Doe", "username": "customer_john"},
    account={"name": "GoodGo Official", "username": "goodgo_shop"},
)


class MissingVariable(InvalidContent):
    """Nothing fills a variable that the content uses; the problem's field is its name."""


class UnrenderableTemplate(InvalidContent):
    """The content can't be rendered with what fills it: too much work, too long, or a filter that does not fit."""


def checked_variables(draft: TemplateDraft) -> tuple[str, ...]:
    """Check a template and return its variables, in the order of the list or of their first use.

    Raises:
        InvalidContent: naming everything that is wrong.
    """
    problems = list(_problems_of_type(draft))
    if any(problem.field == "content" for problem in problems):
        raise InvalidContent("The template is wrong", problems=tuple(problems))
    used: tuple[str, ...] = ()
    try:
        used = variables_of(draft.content)
    except InvalidContent as error:
        problems += error.problems
    else:
        problems += _problems_of_variables(used, draft.variables)
    if problems:
        raise InvalidContent("The template is wrong", problems=tuple(problems))
    return used if draft.variables is None else draft.variables


def variables_of(content: str) -> tuple[str, ...]:
    """Return the names that a content uses without making them itself; none for attributes and for account fields.

    Raises:
        InvalidContent: when the content is no template, or too large a one.
    """
    template = _parsed(content, _ENVIRONMENT)
    analysis = template.analyze(include_partials=False)
    if unknown := sorted(analysis.filters.keys() - _ENVIRONMENT.filters.keys()):
        raise InvalidContent(
            "The content is no template",
            problems=tuple(_problem(f"uses a filter that is not known: {name[:_LONGEST_NAME]}") for name in unknown),
        )
    found = analysis.globals
    for name in _GROUPS & found.keys():
        if any(len(variable.segments) == 1 for variable in found[name]):
            raise _wrong(f"uses {name} as a whole; name one of its fields, as in {name}.tier")
    return tuple(name for name in found if name not in _GROUPS)


def render(content: str, fillings: Fillings) -> str:
    """Return the text that a content makes.

    Raises:
        MissingVariable: when nothing fills a variable that is needed.
        UnrenderableTemplate: when it makes too much work, too long a text, or a filter does not fit its value.
    """
    return checked_length(filled(content, fillings))


def filled(content: str, fillings: Fillings, environment: TemplateEnvironment | None = None) -> str:
    """Return what a content makes that is no message, of whatever length a rendering may have.

    Raises:
        MissingVariable: when nothing fills a variable that is needed.
        UnrenderableTemplate: when it makes too much work, or a filter does not fit its value.
    """
    try:
        text: str = _parsed(content, environment or _ENVIRONMENT).render(_values(fillings))
    except UndefinedError as error:
        name = str(error.message)
        raise MissingVariable("A variable is missing", problems=(Problem(name, "is filled by nothing"),)) from None
    except (LiquidError, RecursionError) as error:
        raise UnrenderableTemplate("The template can't be rendered", problems=(_problem(_reason(error)),)) from None
    return text


def checked_length(text: str) -> str:
    """Return the text of a message that is not too long.

    Raises:
        UnrenderableTemplate: when X would not take it.
    """
    if len(text) > LONGEST_CONTENT:
        problem = _problem(f"is rendered to more than {LONGEST_CONTENT} characters")
        raise UnrenderableTemplate("The message would be too long", problems=(problem,))
    return text


def _values(fillings: Fillings) -> dict[str, object]:
    contact = {name: value for name, value in fillings.contact.items() if value is not None}
    groups: dict[str, dict[str, object]] = {
        "attributes": dict(fillings.attributes),
        "account": {name: value for name, value in fillings.account.items() if value is not None},
    }
    values: dict[str, object] = {**contact}
    for name, value in fillings.given.items():
        group, dot, inner = name.partition(".")
        if dot:
            groups.setdefault(group, {})[inner] = value
        else:
            values[name] = value
    return {**groups, **values}


@lru_cache(maxsize=256)
def _parsed(content: str, environment: TemplateEnvironment) -> BoundTemplate:
    try:
        template = environment.from_string(content)
        parts = sum(1 for _ in _parts(template))
    except (LiquidError, RecursionError) as error:
        raise _wrong(_reason(error)) from None
    if parts > _MOST_PARTS:
        raise _wrong(f"has more than {_MOST_PARTS} parts of syntax")
    return template


def _parts(template: BoundTemplate) -> Iterator[object]:
    """Yield every part of a template's syntax, each range checked.

    A range whose ends are not known could be walked through, by `contains` and by `offset`, before any limit counts.
    """
    context = template.context_class(template)
    nodes = list(template.nodes)
    expressions: list[Expression] = []
    while nodes:
        node = nodes.pop()
        yield node
        nodes.extend(node.children(context, include_partials=False))
        expressions.extend(node.expressions())
    while expressions:
        expression = expressions.pop()
        yield expression
        if isinstance(expression, RangeLiteral):
            _check_range(expression)
        expressions.extend(expression.children())


def _check_range(literal: RangeLiteral) -> None:
    for end in (literal.start, literal.stop):
        if not isinstance(end, IntegerLiteral) or not 0 <= end.value <= MOST_ENTRIES:
            raise _wrong(f"has a range whose ends are not written as numbers from 0 to {MOST_ENTRIES}")


def _problems_of_type(draft: TemplateDraft) -> Iterator[Problem]:
    if not draft.content.strip():
        yield _problem("must not be empty")
    if len(draft.content) > LONGEST_CONTENT:
        yield _problem(f"must be at most {LONGEST_CONTENT} characters")
    yield from problems_of_additions(draft.type, draft.options, draft.buttons)


def problems_of_additions(
    type_: TemplateType, options: Sequence[QuickReply], buttons: Sequence[Button]
) -> Iterator[Problem]:
    """Yield what is wrong with the quick replies and buttons of a template or a message of this type."""
    for name, wanted, entries, most in (
        ("options", "quick_reply", options, MOST_OPTIONS),
        ("buttons", "card", buttons, MOST_BUTTONS),
    ):
        if type_ != wanted and entries:
            yield Problem(name, f"belong to the type {wanted} only")
        if type_ == wanted and not 1 <= len(entries) <= most:
            yield Problem(name, f"must be 1 to {most}")
    yield from _problems_of_options(options)
    for index, button in enumerate(buttons):
        yield from _label(f"buttons.{index}.label", button.label)
        if not _is_web_address(button.url):
            yield Problem(f"buttons.{index}.url", "must be an http or https address")


def _problems_of_options(options: Sequence[QuickReply]) -> Iterator[Problem]:
    described = [option.description is not None for option in options]
    if any(described) and not all(described):
        index = described.index(False)
        yield Problem(f"options.{index}.description", "must be given for all options or for none")
    for index, option in enumerate(options):
        yield from _label(f"options.{index}.label", option.label)
        if option.description is not None and not 1 <= len(option.description) <= LONGEST_DESCRIPTION:
            yield Problem(f"options.{index}.description", f"must be 1 to {LONGEST_DESCRIPTION} characters")
        if option.metadata is not None and not 1 <= len(option.metadata) <= LONGEST_METADATA:
            yield Problem(f"options.{index}.metadata", f"must be 1 to {LONGEST_METADATA} characters")


def _problems_of_variables(used: Iterable[str], declared: Sequence[str] | None) -> Iterator[Problem]:
    if declared is None:
        return
    used = tuple(used)
    for name in used:
        if name not in declared and name not in _CONTACT_FIELDS:
            yield Problem("variables", f"{name} is used by the content, but not listed")
    for name in declared:
        is_filled = name in _CONTACT_FIELDS or name.partition(".")[0] in _GROUPS
        if name not in used and not is_filled:
            yield Problem("variables", f"{name} is listed, but not used by the content")
    if len(set(declared)) < len(declared):
        yield Problem("variables", "has a name twice")


def _label(path: str, label: str) -> Iterator[Problem]:
    if not label.strip() or len(label) > LONGEST_LABEL:
        yield Problem(path, f"must be 1 to {LONGEST_LABEL} characters")


def _is_web_address(url: str) -> bool:
    if len(url) > LONGEST_URL or not _NO_SPACE.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in _WEB and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _reason(error: LiquidError | RecursionError) -> str:
    return str(error.message)[:_LONGEST_REASON] if isinstance(error, LiquidError) else "is nested too deep"


def _problem(reason: str) -> Problem:
    return Problem("content", reason)


def _wrong(reason: str) -> InvalidContent:
    return InvalidContent("The content is no template", problems=(_problem(reason),))
