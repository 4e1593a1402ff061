"""Look-ups over HTTP that a merchant lets the model ask for, and what one may be.

The model chooses one by name and gives values for its parameters. Where a call goes is the merchant's alone: scheme,
host and port stand in the address as they are, and what is filled in can be a part of the path or the value of a query.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import urlsplit

from domain.dialogue_pattern import pattern_problem
from domain.errors import Problem
from domain.public_links import LONGEST_LINK, LinkRefused, link_of

Method: TypeAlias = Literal["GET", "POST"]
ParameterType: TypeAlias = Literal["text", "integer", "number", "boolean"]

MOST_TOOLS = 20
MOST_PARAMETERS = 10
MOST_HEADERS = 10
LONGEST_DESCRIPTION = 500
LONGEST_HEADER = 2_000
TOOL_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]{0,63}"

#: What the gateway fills in by itself, from whose dialogue it is.
OWN_PLACES = frozenset({"contact.id", "contact.twitterUserId", "contact.username", "conversation.id", "account.id"})
#: What is filled in, in an address.
PLACE = re.compile(r"\{\{\s*([A-Za-z0-9_.]+)\s*\}\}")
_NAME = re.compile(TOOL_NAME)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
#: Headers that say how a request travels: they are the client's own (RFC 9110, 7; RFC 9112).
_RESERVED_HEADERS = frozenset(
    {
        *("accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host"),
        *("keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
        "user-agent",
    }
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that the model gives: `pattern` is for the whole of a text (`domain/dialogue_pattern.py`)."""

    name: str
    type: ParameterType = "text"
    description: str = ""
    required: bool = True
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A look-up, without its secrets.

    In `url`, `{{name}}` is a parameter or one of `OWN_PLACES`. Parameters that the address does not name are the fields
    of a POST's JSON body.
    """

    id: str
    name: str
    description: str
    url: str
    method: Method = "GET"
    parameters: tuple[Parameter, ...] = ()
    header_names: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """The host that calls go to, with its port where it is not the scheme's own."""
        return urlsplit(self.url).netloc.lower()


def places_of(url: str) -> list[str]:
    """Return the names of what an address is filled with, in order."""
    return PLACE.findall(url)


def tool_problems(tool: Tool, headers: Mapping[str, str], *, private_allowed: bool = False) -> list[Problem]:
    """Return everything that is wrong with a look-up and its secret headers.

    `private_allowed` takes every host, and http, for tests and development.
    """
    problems = [*_name_problems(tool), *_parameter_problems(tool), *_header_problems(headers)]
    if problem := next(_url_problems(tool, private_allowed=private_allowed), None):
        problems.append(Problem("url", problem))
    return problems


def _name_problems(tool: Tool) -> Iterator[Problem]:
    if not _NAME.fullmatch(tool.name):
        yield Problem("name", "must be a name of 1 to 64 letters, digits and _, and not begin with a digit")
    if not tool.description.strip() or len(tool.description) > LONGEST_DESCRIPTION:
        yield Problem("description", f"must have 1 to {LONGEST_DESCRIPTION} characters")


def _parameter_problems(tool: Tool) -> Iterator[Problem]:
    if len(tool.parameters) > MOST_PARAMETERS:
        yield Problem("parameters", f"must be at most {MOST_PARAMETERS}")
    in_url = set(places_of(tool.url))
    names: set[str] = set()
    for number, parameter in enumerate(tool.parameters):
        where = f"parameters.{number}"
        if not _NAME.fullmatch(parameter.name):
            yield Problem(f"{where}.name", "must be a name of 1 to 64 letters, digits and _")
        if parameter.name in names:
            yield Problem(f"{where}.name", "is there twice")
        names.add(parameter.name)
        if len(parameter.description) > LONGEST_DESCRIPTION:
            yield Problem(f"{where}.description", f"must have at most {LONGEST_DESCRIPTION} characters")
        if parameter.pattern is not None:
            problem = pattern_problem(parameter.pattern) if parameter.type == "text" else "is for texts alone"
            if problem:
                yield Problem(f"{where}.pattern", problem)
        if tool.method == "GET" and parameter.name not in in_url:
            yield Problem(f"{where}.name", "must stand in the url of a GET")
        if parameter.name in in_url and not parameter.required:
            yield Problem(f"{where}.required", "must be true for what stands in the url")


def _header_problems(headers: Mapping[str, str]) -> Iterator[Problem]:
    if len(headers) > MOST_HEADERS:
        yield Problem("headers", f"must be at most {MOST_HEADERS}")
    for number, (name, value) in enumerate(headers.items()):
        # Neither names nor values are repeated: people paste secrets into the wrong field.
        if not _HEADER_NAME.fullmatch(name):
            yield Problem(f"headers.{number}", "must have a proper name")
        elif name.lower() in _RESERVED_HEADERS:
            yield Problem(f"headers.{number}", "is a header that the gateway sets itself")
        elif len(value) > LONGEST_HEADER or not _HEADER_VALUE.fullmatch(value):
            yield Problem(f"headers.{number}", f"must have a value of 1 to {LONGEST_HEADER} printable ASCII characters")
    if len({name.lower() for name in headers}) < len(headers):
        yield Problem("headers", "must not name the same header twice")


def _url_problems(tool: Tool, *, private_allowed: bool) -> Iterator[str]:
    if len(tool.url) > LONGEST_LINK:
        yield f"must have at most {LONGEST_LINK} characters"
    known = {parameter.name for parameter in tool.parameters} | OWN_PLACES
    for name in places_of(tool.url):
        if name not in known:
            yield f"names {name}, which is neither a parameter nor known of the contact"
    bare = PLACE.sub("x", tool.url)
    if "{" in bare or "}" in bare:
        yield "must hold {{name}} and no other braces"
    if PLACE.search(_before_path(tool.url)):
        yield "must have a scheme and a host that are not filled in"
    if "#" in bare:
        yield "must not have a fragment"
    if not _placed_well(tool.url):
        yield "must be filled in parts of the path and values of the query alone"
    try:
        link = link_of(bare, private_allowed=private_allowed)
    except LinkRefused as refused:
        yield str(refused)
        return
    if link.scheme != "https" and not private_allowed:
        yield "must be an https address"


def _before_path(url: str) -> str:
    """Return scheme, host and port of an address, with everything that could be taken for them."""
    _, _, rest = url.partition("://")
    end = next((place for place, character in enumerate(rest) if character in "/?#"), len(rest))
    return url[: len(url) - len(rest) + end]


def _placed_well(url: str) -> bool:
    _, _, query = PLACE.sub("\ue000", url).partition("?")
    return all("\ue000" not in pair.partition("=")[0] for pair in query.split("&"))
