"""What docs/flows.md shows works as it stands there, and it leaves no type out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from domain.flow_graph import read_flow
from domain.flow_node_config import NODE_TYPES
from domain.flow_nodes import branches_of, must_name_branch
from domain.flow_triggers import TRIGGER_TYPES
from gateway.models.flow_simulations import SimulateFlow

GUIDE = (Path(__file__).parents[2] / "docs" / "flows.md").read_text()
WHOLE = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)]


def rows(section: str) -> dict[str, list[dict[str, Any]]]:
    """Return the examples of each type in a section's table."""
    table = GUIDE.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    found: dict[str, list[dict[str, Any]]] = {}
    for line in table.splitlines():
        types = re.findall(r"`(\w+)`", line.split("|")[1]) if line.startswith("| `") else []
        examples = [json.loads(each) for each in re.findall(r"`({.*?})`", line)]
        found |= dict.fromkeys(types, examples)
    found.pop("type", None)
    return found


TRIGGERS, NODES = rows("Triggers"), rows("Nodes")


def test_every_type_has_a_row() -> None:
    assert set(TRIGGERS) == set(TRIGGER_TYPES)
    assert set(NODES) == set(NODE_TYPES)


def test_the_example_is_a_flow() -> None:
    body = WHOLE[0]
    assert len(read_flow(body["trigger"], body["nodes"], body["connections"]).graph.nodes) == 3


@pytest.mark.parametrize("kind", TRIGGER_TYPES)
def test_an_example_of_a_trigger_is_one(kind: str) -> None:
    for config in TRIGGERS[kind] or [{}]:
        read_flow({"type": kind, "config": config}, [{"id": "end", "type": "end"}], [])


@pytest.mark.parametrize("kind", NODE_TYPES)
def test_an_example_of_a_node_is_one_with_the_branches_of_its_row(kind: str) -> None:
    line = next(line for line in GUIDE.splitlines() if re.match(rf"\| (`\w+`, )?`{kind}`", line))
    for config in NODES[kind] or [{}]:
        flow = read_flow({"type": "manual"}, [{"id": "n", "type": kind, "config": config}], [])
        node = flow.graph.config("n")
        shown = line.rstrip(" |").rsplit("|", 1)[1]
        if kind != "split":
            assert tuple(re.findall(r"`(\w+)`", shown)) == branches_of(node)
        assert must_name_branch(node) is (kind in {"condition", "split"})


def test_the_example_of_a_simulation_is_one() -> None:
    assert SimulateFlow.model_validate(WHOLE[1]).replies[1] is None
