"""Secret headers of flows' calls: sealed in the flow and its versions, opened for a call alone.

A secret is bound to its merchant, node, name and the host that it is for: it can't be opened for any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from domain.errors import Problem
from domain.flow_node_config import SEALED, host_of
from domain.flow_nodes import HttpRequest
from storage.encryption import KeyRing, Place

_NAME = "secretHeaders"


class FlowSecrets:
    """Seals and opens secrets of flows."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    def sealed(self, merchant_id: str, nodes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return sound nodes as they are kept: what is not sealed yet is."""
        kept = [dict(node) for node in nodes]
        for index, config in calls_in(kept):
            host = host_of(config["url"]) or ""
            node_id = str(kept[index]["id"])
            secrets = {
                name: {SEALED: self._ring.seal(value, _place(merchant_id, node_id, name, host))}
                if isinstance(value, str)
                else value
                for name, value in config[_NAME].items()
            }
            kept[index]["config"] = {**config, _NAME: secrets}
        return kept

    def opened(self, merchant_id: str, node_id: str, action: HttpRequest) -> dict[str, str]:
        """Return the secret headers of a call in the clear.

        Raises:
            CannotOpen: when one was sealed with a key that is not there any more.
        """
        host = host_of(action.url) or ""
        return {
            name: self._ring.open(value, _place(merchant_id, node_id, name, host))
            for name, value in action.secret_headers.items()
        }


def shown(nodes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return nodes as they are answered: of secrets the names alone."""
    found = [dict(node) for node in nodes]
    for index, config in calls_in(found):
        found[index]["config"] = {**config, _NAME: dict.fromkeys(config[_NAME])}
    return found


def kept_secrets(given: Sequence[Any], known: Sequence[Mapping[str, Any]]) -> tuple[list[Any], list[Problem]]:
    """Return nodes that were given, each null of a secret replaced by what is kept of it, and what is wrong with that.

    A secret is kept for the same node and name, and for the host that it was given for.
    """
    before = {known[index]["id"]: config for index, config in calls_in(known)}
    nodes, problems = deepcopy(list(given)), list[Problem]()
    for index, config in calls_in(nodes):
        node_id = nodes[index].get("id")
        former = before.get(node_id, {}) if isinstance(node_id, str) else {}
        stays = former != {} and host_of(former["url"]) == host_of(str(config.get("url")))
        for name, value in config[_NAME].items():
            if isinstance(value, str):
                continue
            if value is None and stays and name in former[_NAME]:
                config[_NAME][name] = former[_NAME][name]
                continue
            reason = "must be given" if value is None else "must be text"
            if value is None and name in former.get(_NAME, {}):
                reason = "must be given anew: it was for another host"
            problems.append(Problem(f"nodes.{index}.config.{_NAME}.{name}", reason))
            # Whoever reads on need not name it a second time.
            config[_NAME][name] = "?"
    return nodes, problems


def calls_in(nodes: Sequence[Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the calls with secrets among nodes, each with its place, whatever the nodes are."""
    for index, node in enumerate(nodes):
        config = node.get("config") if isinstance(node, dict) and node.get("type") == HttpRequest.kind else None
        if isinstance(config, dict) and isinstance(config.get(_NAME), dict):
            yield index, config


def _place(merchant_id: str, node_id: str, name: str, host: str) -> Place:
    return Place("flows", merchant_id, f"{node_id}|{name}|{host}")
