"""What people say about a flow, checked: it is sound, and what it refers to is there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from domain.errors import InvalidContent, Problem
from domain.flow_graph import read_flow
from domain.flow_nodes import HttpRequest
from gateway.dependencies import Dependencies
from gateway.flow_references import missing_references
from gateway.models.flows import ChangeFlow, CreateFlow
from storage.flow_documents import FlowDocument
from storage.flow_secrets import kept_secrets
from storage.flows import FlowFields

#: Headers that mostly hold a secret, which everybody could read who may read flows.
_SECRETS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"})
_IN_THE_OPEN = "would be shown to everybody who reads flows: give it in secretHeaders"
#: What need not be looked at again where nothing else is changed.
_SOUND_BY_ITSELF = frozenset({"name", "re_entry"})
_PARTS = ("trigger", "nodes", "connections")


async def fields_of_new(deps: Dependencies, merchant_id: str, body: CreateFlow) -> FlowFields:
    """Return the fields of a flow that is to be made.

    Raises:
        InvalidContent: naming all that is wrong with it, and all that does not exist.
    """
    nodes, wrong = read_secrets(body.nodes, ())
    fields: FlowFields = {
        "name": body.name,
        "accountId": body.account_id,
        "trigger": body.trigger,
        "nodes": _objects(nodes),
        "connections": _objects(body.connections),
        "reEntry": body.re_entry,
    }
    await check_flow(deps, merchant_id, fields, wrong)
    return _sealed(deps, merchant_id, fields)


async def fields_of_changed(deps: Dependencies, known: FlowDocument, body: ChangeFlow) -> FlowFields:
    """Return the fields of a flow that is to be changed; what isn't given stays.

    Raises:
        InvalidContent: naming all that is wrong with it, and all that does not exist.
    """
    given = body.model_fields_set
    nodes, wrong = read_secrets(body.nodes or (), known["nodes"])
    fields: FlowFields = {
        "name": body.name or known["name"],
        "accountId": body.account_id if "account_id" in given else known["accountId"],
        "trigger": known["trigger"] if body.trigger is None else body.trigger,
        "nodes": known["nodes"] if body.nodes is None else _objects(nodes),
        "connections": known["connections"] if body.connections is None else _objects(body.connections),
        "reEntry": body.re_entry or known["reEntry"],
    }
    if given - _SOUND_BY_ITSELF:
        await check_flow(deps, known["merchantId"], fields, wrong)
    return _sealed(deps, known["merchantId"], fields)


async def check_flow(
    deps: Dependencies, merchant_id: str, fields: FlowFields, known_problems: Sequence[Problem] = ()
) -> None:
    """Check that a flow is sound, and that what it refers to is there, beside what is known to be wrong with it.

    Raises:
        InvalidContent: naming everything that is not so.
    """
    if problems := (*known_problems, *await _all_problems(deps, merchant_id, fields)):
        raise InvalidContent("The flow is wrong", problems=problems)


async def problems_beside_schema(
    deps: Dependencies, merchant_id: str, given: object, known: FlowDocument | None = None
) -> Sequence[Problem]:
    """Return what else is wrong with a flow that does not fit the schema: its graph, secrets, what does not exist.

    `known` is the flow that is to be changed; what isn't given stays.
    """
    if not isinstance(given, dict):
        return ()
    before: Mapping[str, Any] = known or {}
    parts = {name: before.get(name) if given.get(name) is None else given[name] for name in _PARTS}
    if known is not None and not given.keys() & {*_PARTS, "accountId"}:
        return ()
    wrong: list[Problem] = []
    if isinstance(given.get("nodes"), list):
        parts["nodes"], wrong = read_secrets(given["nodes"], before.get("nodes", ()))
    account_id = given.get("accountId", before.get("accountId"))
    fields = cast("FlowFields", {**parts, "accountId": account_id if isinstance(account_id, str) else None})
    return (*wrong, *await _all_problems(deps, merchant_id, fields))


async def _all_problems(deps: Dependencies, merchant_id: str, fields: FlowFields) -> tuple[Problem, ...]:
    # A rule that never comes may take a good part of a second to be seen through: other requests need not wait for it.
    wrong = await asyncio.to_thread(_problems, fields, private_allowed=deps.settings.fetch_private_addresses)
    return (*wrong, *await missing_references(deps.repositories, merchant_id, fields))


def _problems(fields: FlowFields, *, private_allowed: bool) -> tuple[Problem, ...]:
    try:
        read_flow(fields["trigger"], fields["nodes"], fields["connections"], private_allowed=private_allowed)
    except InvalidContent as error:
        return error.problems
    return ()


def read_secrets(given: Sequence[object], known: Sequence[Mapping[str, Any]]) -> tuple[list[object], list[Problem]]:
    """Return nodes with the secrets that they keep, and what is wrong with secrets: missing, or given in the open."""
    nodes, problems = kept_secrets(given, known)
    for index, node in enumerate(nodes):
        config = node.get("config") if isinstance(node, dict) and node.get("type") == HttpRequest.kind else None
        headers = config.get("headers") if isinstance(config, dict) else None
        names = headers if isinstance(headers, dict) else ()
        open_secrets = (name for name in names if isinstance(name, str) and name.lower() in _SECRETS)
        problems += [Problem(f"nodes.{index}.config.headers.{name}", _IN_THE_OPEN) for name in open_secrets]
    return nodes, problems


def _sealed(deps: Dependencies, merchant_id: str, fields: FlowFields) -> FlowFields:
    return {**fields, "nodes": deps.repositories.flow_secrets.sealed(merchant_id, fields["nodes"])}


def _objects(given: list[object]) -> list[dict[str, Any]]:
    # Those that are no objects are refused when they are read.
    return cast("list[dict[str, Any]]", given)
