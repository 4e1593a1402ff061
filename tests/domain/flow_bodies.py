"""Flows as people write them: the seed's example, and sound ones of every shape."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from domain.flow_graph import Flow, read_flow

CONDITIONS = [{"field": "tags", "operator": "contains", "value": "vip"}]
MANUAL: dict[str, Any] = {"type": "manual", "config": {}}

#: The body of "Create Automation Flow" in the seed.
SEED: dict[str, Any] = {
    "trigger": {"type": "new_follower", "config": {}},
    "nodes": [
        {"id": "node-1", "type": "send_message", "config": {"templateId": "template-uuid", "delay": 0}},
        {"id": "node-2", "type": "wait", "config": {"duration": 86400}},
        {"id": "node-3", "type": "send_message", "config": {"templateId": "template-uuid-2", "delay": 0}},
    ],
    "connections": [
        {"fromNodeId": "node-1", "toNodeId": "node-2"},
        {"fromNodeId": "node-2", "toNodeId": "node-3"},
    ],
}

ACTIONS: dict[str, dict[str, Any]] = {
    "send_message": {"templateId": "welcome"},
    "add_tag": {"tag": "vip"},
    "remove_tag": {"tag": "vip"},
    "update_attributes": {"attributes": {"tier": "gold", "old": None}},
    "assign": {"userId": "anna"},
    "close_conversation": {"reason": "resolved"},
    "ai_reply": {},
    "http_request": {"url": "https://shop.example.com/hook", "saveAs": "order"},
    "start_flow": {"flowId": "other"},
}
OTHERS: dict[str, dict[str, Any]] = {
    "wait": {"duration": 60},
    "wait_for_reply": {"timeout": 3600, "saveAs": "answer"},
    "condition": {"conditions": CONDITIONS},
    "split": {"weights": {"a": 70, "b": 30}},
    "end": {},
}
CONFIGS = ACTIONS | OTHERS
BRANCHES = dict.fromkeys(ACTIONS, ("next", "error")) | {
    "ai_reply": ("next", "escalated", "error"),
    "wait": ("next",),
    "wait_for_reply": ("reply", "timeout"),
    "condition": ("true", "false"),
    "split": ("a", "b"),
    "end": (),
}


def node(node_id: str, kind: str, **config: Any) -> dict[str, Any]:
    """Return a node of a kind, with other fields of its configuration where they are given."""
    return {"id": node_id, "type": kind, "config": CONFIGS[kind] | config}


def link(source: str, target: str, branch: str | None = None) -> dict[str, Any]:
    """Return a connection."""
    return {"fromNodeId": source, "toNodeId": target} | ({} if branch is None else {"branch": branch})


def chain(*nodes: dict[str, Any]) -> Flow:
    """Return a flow of nodes one after the other, by the branch that is meant where none is named."""
    links = [link(a["id"], b["id"]) for a, b in pairwise(nodes)]
    return read_flow(MANUAL, list(nodes), links)


@st.composite
def sound_flows(draw: st.DrawFn) -> dict[str, Any]:
    """Return a flow's body: every node reachable from the first, back only from nodes at which it stands still."""
    kinds = [draw(st.sampled_from(sorted(CONFIGS)))]
    free = [(0, branch) for branch in BRANCHES[kinds[0]]]
    links: list[dict[str, Any]] = []
    for number in range(1, draw(st.integers(1, 14))):
        if not free:
            break
        source, branch = free.pop(draw(st.integers(0, len(free) - 1)))
        links.append(link(f"n{source}", f"n{number}", branch))
        kinds.append(draw(st.sampled_from(sorted(CONFIGS))))
        free += [(number, each) for each in BRANCHES[kinds[-1]]]
    for source, branch in free:
        least = 0 if kinds[source] in {"wait", "wait_for_reply"} else source + 1
        if least < len(kinds) and draw(st.booleans()):
            links.append(link(f"n{source}", f"n{draw(st.integers(least, len(kinds) - 1))}", branch))
    nodes = [node(f"n{number}", kind) for number, kind in enumerate(kinds)]
    return {"trigger": MANUAL, "nodes": nodes, "connections": links}
