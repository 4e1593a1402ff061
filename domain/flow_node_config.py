"""Reads a flow's nodes as people write them (seed, "Create Automation Flow"; contract, part 5, "Flows").

Durations are whole seconds, as in the seed's example. A field that a type does not have is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from domain.contact_fields import MOST_ATTRIBUTES, AttributeValue, attribute_name, attribute_value, tag
from domain.errors import InvalidContent, Problem
from domain.flow_fields import LONGEST_ID, Fields
from domain.flow_nodes import (
    REPLY_TIMEOUT_S,
    AddTag,
    AiReply,
    Assign,
    Branch,
    CloseConversation,
    End,
    HttpRequest,
    NodeConfig,
    RemoveTag,
    SendMessage,
    Split,
    StartFlow,
    UpdateAttributes,
    Variable,
    Wait,
    WaitForReply,
)
from domain.public_links import LONGEST_LINK, LinkRefused, link_of
from domain.segment_conditions import All, read_conditions
from domain.templates import MOST_VARIABLES, VARIABLE_NAME, variables_of

MOST_NODES = 200
#: A year: a wait that is longer is a mistake.
LONGEST_WAIT_S = 31_536_000
MOST_WEIGHTS = 20
GREATEST_WEIGHT = 10_000
LONGEST_REASON = 500
LONGEST_INSTRUCTIONS = 2_000
MOST_HEADERS = 10
LONGEST_BODY = 20_000
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

# Ids are also names of counters in documents, and a part of keys.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_VARIABLE = re.compile(VARIABLE_NAME)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
#: An output or a tag of a template.
_GAP = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,1000}")
#: All of an address before its path.
_HOST = re.compile(r"https?://[^/?#]+(?=[/?#]|\Z)", re.IGNORECASE)
#: What a secret is kept under.
SEALED = "sealed"
#: What the connection itself decides (RFC 9110, 7.6; RFC 9112, 6).
_OWN_HEADERS = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "te",  # codespell:ignore te
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


@dataclass(frozen=True, slots=True)
class ReadNode:
    """A node as far as it could be read: its place in the list, and None for what is wrong with it."""

    index: int
    id: str | None
    config: NodeConfig | None


def read_nodes(given: object, problems: list[Problem], *, private_allowed: bool = False) -> list[ReadNode]:
    """Return a flow's nodes, and note what is wrong with each, as in `nodes.2.config.duration`.

    `private_allowed` takes every address in `http_request`, for tests and development.
    """
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_NODES:
        problems.append(Problem("nodes", f"must be a list of 1 to {MOST_NODES} nodes"))
        return []
    nodes: list[ReadNode] = []
    known: set[str] = set()
    for index, each in enumerate(given):
        fields = Fields(each, f"nodes.{index}", problems)
        node = ReadNode(index, _id(fields, known), _config(fields, problems, private_allowed=private_allowed))
        fields.close()
        nodes.append(node)
    return nodes


def _id(fields: Fields, known: set[str]) -> str | None:
    value = fields.take("id")
    if not isinstance(value, str) or not _ID.fullmatch(value):
        fields.note("id", "must be 1 to 64 letters, digits, _ or -")
        return None
    if value in known:
        fields.note("id", "is the id of another node")
        return None
    known.add(value)
    return value


def _config(fields: Fields, problems: list[Problem], *, private_allowed: bool) -> NodeConfig | None:
    kind, given = fields.take("type"), fields.take("config")
    read = _READERS.get(kind) if isinstance(kind, str) else None
    if read is None:
        fields.note("type", f"must be one of {', '.join(_READERS)}")
        return None
    before = len(problems)
    inner = Fields({} if given is None else given, f"{fields.path}.config", problems)
    config = read(inner)
    if isinstance(config, HttpRequest):
        _check_url(inner, config.url, private_allowed=private_allowed)
    inner.close()
    return config if len(problems) == before else None


def _send_message(fields: Fields) -> SendMessage:
    variables: dict[str, Variable] = {}
    for name, value in fields.entries("variables", MOST_VARIABLES):
        if not _VARIABLE.fullmatch(name):
            fields.note(f"variables.{name[:LONGEST_ID]}", "is no name of a variable")
        elif (filling := _variable(value)) is None and value is not None:
            fields.note(f"variables.{name}", "must be text, a number or a boolean")
        else:
            variables[name] = filling
    return SendMessage(fields.text("templateId", LONGEST_ID), fields.whole("delay", 0, LONGEST_WAIT_S, 0), variables)


def _variable(value: object) -> Variable:
    if isinstance(value, list):
        return None
    try:
        checked = attribute_value(value)
    except ValueError:
        return None
    return None if isinstance(checked, list) else checked


def _wait(fields: Fields) -> Wait:
    has_duration, has_until = fields.has("duration"), fields.has("until")
    if has_duration is has_until:
        fields.note("duration", "must be given, or until, and not both")
    duration = fields.whole("duration", 0, LONGEST_WAIT_S) if has_duration else None
    return Wait(duration, fields.moment("until"))


def _wait_for_reply(fields: Fields) -> WaitForReply:
    return WaitForReply(fields.whole("timeout", 1, LONGEST_WAIT_S, REPLY_TIMEOUT_S), _save_as(fields))


def _condition(fields: Fields) -> Branch:
    try:
        conditions = read_conditions(fields.take("conditions"), "conditions")
    except InvalidContent as error:
        for problem in error.problems:
            fields.note(problem.field, problem.reason)
        return Branch(All(()))
    if not conditions.parts:
        fields.note("conditions", "must not be empty")
    return Branch(conditions)


def _split(fields: Fields) -> Split:
    weights: dict[str, int] = {}
    for name, value in fields.entries("weights", MOST_WEIGHTS):
        if not _ID.fullmatch(name):
            fields.note(f"weights.{name[:LONGEST_ID]}", "must be named by 1 to 64 letters, digits, _ or -")
        elif isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= GREATEST_WEIGHT:
            fields.note(f"weights.{name}", f"must be a whole number from 0 to {GREATEST_WEIGHT}")
        else:
            weights[name] = value
    if not any(weights.values()):
        fields.note("weights", "must have one that is more than 0")
    return Split(weights)


def _update_attributes(fields: Fields) -> UpdateAttributes:
    attributes: dict[str, AttributeValue | None] = {}
    for name, value in fields.entries("attributes", MOST_ATTRIBUTES):
        try:
            attributes[attribute_name(name)] = None if value is None else attribute_value(value)
        except ValueError as error:
            fields.note(f"attributes.{name[:LONGEST_ID]}", str(error))
    if not attributes:
        fields.note("attributes", "must name an attribute")
    return UpdateAttributes(attributes)


def _assign(fields: Fields) -> Assign:
    if not fields.has("userId", even_null=True):
        fields.note("userId", "must be given; null is nobody")
    return Assign(fields.optional_text("userId", LONGEST_ID))


def _http_request(fields: Fields) -> HttpRequest:
    method = fields.choice("method", METHODS, "GET")
    body = fields.optional_text("body", LONGEST_BODY)
    if body is not None and method == "GET":
        fields.note("body", "must not be given with GET")
    url, headers = fields.text("url", LONGEST_LINK), dict(_headers(fields))
    _check_gaps(fields, "url", url)
    _check_gaps(fields, "body", body or "")
    for name, value in headers.items():
        _check_gaps(fields, f"headers.{name}", value)
    secrets = dict(_secret_headers(fields, {name.lower() for name in headers}))
    if secrets and url and host_of(url) is None:
        fields.note("url", "must name its host as it is where there are secretHeaders")
    return HttpRequest(url, method, headers, body, _save_as(fields), secrets)


def _check_gaps(fields: Fields, name: str, content: str) -> None:
    """Note what is wrong with a text that is filled as a template is."""
    try:
        variables_of(content)
    except InvalidContent as error:
        for problem in error.problems:
            fields.note(name, problem.reason)


def host_of(url: str) -> str | None:
    """Return scheme, host and port of a call's address, None where what fills it may change them."""
    whole = _HOST.match(url)
    return None if whole is None or "{" in whole[0] else whole[0].lower()


def _headers(fields: Fields) -> Iterator[tuple[str, str]]:
    for name, value in fields.entries("headers", MOST_HEADERS):
        if not _is_header(name):
            fields.note(f"headers.{name[:LONGEST_ID]}", "is no header that can be given")
        elif not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            fields.note(f"headers.{name}", "must be at most 1000 printable characters of ASCII")
        else:
            yield name, value


def _secret_headers(fields: Fields, others: set[str]) -> Iterator[tuple[str, str]]:
    """Yield secrets: as they are given, or sealed, as they are kept."""
    for name, value in fields.entries("secretHeaders", MOST_HEADERS):
        path, secret = f"secretHeaders.{name[:LONGEST_ID]}", value
        if isinstance(value, dict) and value.keys() == {SEALED}:
            secret = value[SEALED]
        elif isinstance(value, str) and not _HEADER_VALUE.fullmatch(value):
            secret = None
        if not _is_header(name):
            fields.note(path, "is no header that can be given")
        elif name.lower() in others:
            fields.note(path, "is given twice")
        elif not isinstance(secret, str) or not secret:
            fields.note(path, "must be 1 to 1000 printable characters of ASCII")
        else:
            others.add(name.lower())
            yield name, secret


def _is_header(name: str) -> bool:
    return _HEADER_NAME.fullmatch(name) is not None and name.lower() not in _OWN_HEADERS


def _check_url(fields: Fields, url: str, *, private_allowed: bool) -> None:
    if not url:
        return
    try:
        # What fills a gap is percent-encoded, so that it stands for no more than a part of a name.
        link_of(_GAP.sub("x", url), private_allowed=private_allowed)
    except LinkRefused as error:
        fields.note("url", str(error))


def _save_as(fields: Fields) -> str | None:
    name = fields.optional_text("saveAs", LONGEST_ID)
    if name and not _PLAIN_NAME.fullmatch(name):
        fields.note("saveAs", "must be 1 to 64 letters, digits or _, and begin with no digit")
    return name


_READERS: Mapping[str, Callable[[Fields], NodeConfig]] = {
    SendMessage.kind: _send_message,
    Wait.kind: _wait,
    WaitForReply.kind: _wait_for_reply,
    Branch.kind: _condition,
    Split.kind: _split,
    AddTag.kind: lambda fields: AddTag(fields.checked("tag", tag) or ""),
    RemoveTag.kind: lambda fields: RemoveTag(fields.checked("tag", tag) or ""),
    UpdateAttributes.kind: _update_attributes,
    Assign.kind: _assign,
    CloseConversation.kind: lambda fields: CloseConversation(fields.optional_text("reason", LONGEST_REASON)),
    AiReply.kind: lambda fields: AiReply(fields.optional_text("instructions", LONGEST_INSTRUCTIONS)),
    HttpRequest.kind: _http_request,
    StartFlow.kind: lambda fields: StartFlow(fields.text("flowId", LONGEST_ID)),
    End.kind: lambda _: End(),
}
#: Every type of a node.
NODE_TYPES = tuple(_READERS)
