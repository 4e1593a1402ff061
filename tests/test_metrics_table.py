"""docs/metrics.md says of every metric what the program says of it: name, type, labels; neither leaves one out."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client import REGISTRY

PACKAGES = ("config", "domain", "storage", "actors", "gateway", "program")
TABLE = Path(__file__).parents[1] / "docs" / "metrics.md"
ROW = re.compile(
    r"\| `(?P<name>mktx_\w+)` \| (?P<type>\w+) \| ?(?P<labels>[^|]*) \| (?P<unit>[^|]+) \| (?P<meaning>[^|]+) \|"
)


class Metric(NamedTuple):
    name: str
    type: str
    labels: frozenset[str]


def modules() -> Iterator[str]:
    for package in PACKAGES:
        found = importlib.import_module(package)
        yield from (each.name for each in pkgutil.walk_packages(found.__path__, f"{package}."))


def exported() -> list[Metric]:
    for module in modules():
        importlib.import_module(module)
    collectors: set[Any] = set(REGISTRY._collector_to_names)
    ours = [each for each in collectors if getattr(each, "_name", "").startswith("mktx_")]
    return [
        Metric(each._name + "_total" * (each._type == "counter"), each._type, frozenset(each._labelnames))
        for each in ours
    ]


def rows() -> list[re.Match[str]]:
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("| `mktx_")]
    matched = [ROW.fullmatch(line) for line in lines]
    assert all(matched), [line for line, match in zip(lines, matched, strict=True) if not match]
    return [match for match in matched if match]


def documented() -> list[Metric]:
    return [Metric(row["name"], row["type"], frozenset(re.findall(r"`(\w+)`", row["labels"]))) for row in rows()]


def test_the_table_and_the_program_say_the_same() -> None:
    in_program, in_table = exported(), documented()
    assert len(in_program) > 30
    assert sorted(set(in_program) - set(in_table)) == [], "exported, and not in docs/metrics.md as they are"
    assert sorted(set(in_table) - set(in_program)) == [], "in docs/metrics.md, and not exported so"


def test_each_name_is_there_once_and_in_order() -> None:
    for names in ([each.name for each in exported()], [each.name for each in documented()]):
        assert len(set(names)) == len(names)
    listed = [each.name for each in documented()]
    assert listed == sorted(listed)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row["name"])
def test_a_name_says_its_unit(row: re.Match[str]) -> None:
    """The conventions of Prometheus: counters end in `_total`, what is a time in `_seconds`."""
    assert (row["type"] == "counter") == row["name"].endswith("_total")
    assert (row["unit"] == "seconds") == row["name"].endswith("_seconds")
    assert row["unit"], "what is counted"


def test_no_label_has_a_value_that_somebody_made_up() -> None:
    """Ids of merchants, accounts or people would make as many series as there are of them."""
    allowed = {
        "action", "by", "command", "decision", "direction", "error", "gateway", "host", "kind", "limit", "method",
        "outcome", "process", "route", "status", "trigger", "what",
    }  # fmt: skip
    assert {label for each in exported() for label in each.labels} <= allowed
