"""Analytics as CSV: a line for each part of a period where it is cut into parts, and else one for the period."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from aiohttp import web

from gateway.csv_cells import Cell, csv_lines, sheet_headers

#: What are tables of their own, or no figures.
_LEFT_OUT = frozenset({"timeline", "previous", "change", "campaigns", "flows"})


def sheet_of(answer: Mapping[str, object]) -> str:
    """Return an answer as lines of CSV; the period before, where there is one, comes first."""
    rows = [dict(_cells(each)) for each in (answer.get("previous"), *_rows(answer)) if isinstance(each, Mapping)]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return csv_lines([columns, *([_cell(row.get(name)) for name in columns] for row in rows)])


async def send_csv(request: web.Request, name: str, lines: str) -> web.StreamResponse:
    """Answer a request with CSV, to be saved under a name."""
    response = web.Response(body=lines.encode(), headers=sheet_headers(name))
    await response.prepare(request)
    await response.write_eof()
    return response


def _rows(answer: Mapping[str, object]) -> Sequence[object]:
    timeline = answer.get("timeline")
    return timeline if isinstance(timeline, list) and timeline else [answer]


def _cells(figures: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for name, value in figures.items():
        # The overview's figures of campaigns are a group of numbers, the list of campaigns is not.
        if name in _LEFT_OUT and not (name == "campaigns" and isinstance(value, Mapping)):
            continue
        if isinstance(value, Mapping):
            yield from _cells(value, "" if name == "period" else f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _cell(value: object) -> Cell:
    if value is None or isinstance(value, str | int | datetime):
        return value
    return str(value)
