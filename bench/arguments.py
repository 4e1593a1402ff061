"""The arguments that every benchmark takes."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Arguments:
    """How long, how often, how wide; and where the figures go."""

    seconds: float
    rounds: int
    connections: int
    output: Path | None
    only: tuple[str, ...]


def parse(description: str, *, seconds: float, rounds: int = 5, connections: int = 128) -> Arguments:
    """Read the command line; the arguments given here are the defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=seconds, help="length of one measurement")
    parser.add_argument("--rounds", type=int, default=rounds, help="how often everything is measured")
    parser.add_argument("--connections", type=int, default=connections, help="connections of the load driver")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    parser.add_argument("--only", nargs="*", default=[], help="names of what is measured; default everything")
    found = parser.parse_args()
    return Arguments(found.seconds, found.rounds, found.connections, found.output, tuple(found.only))
