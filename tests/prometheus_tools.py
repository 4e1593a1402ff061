"""Prometheus and promtool of the machine; a test that needs them is skipped, with the reason, where they are not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config" / "prometheus"
DASHBOARDS = ROOT / "config" / "grafana" / "dashboards"


class PanelQuery(NamedTuple):
    dashboard: str
    panel: str
    expression: str


def tool(name: str) -> str:
    """Return where a tool is."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"NOT CHECKED: {name} is not installed; Debian's package `prometheus` has it")
    return found


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", ())


def panel_queries() -> list[PanelQuery]:
    """Return every query of every dashboard."""
    found = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in panels(json.loads(path.read_text())):
            found += [PanelQuery(path.stem, panel["title"], each["expr"]) for each in panel.get("targets", ())]
    return found
