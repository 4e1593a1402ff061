"""Command-line arguments of the servers that are measured."""

from __future__ import annotations

import argparse


def port_argument() -> int:
    """Return the port that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    return int(parser.parse_args().port)
