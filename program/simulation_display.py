"""What a person sees of a simulation: one line that is refreshed on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

_LINE_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, in messages; `lag_ms` is that of the message that was stored last."""

    sent: int
    delivered: int
    stored: int
    waiting: int
    per_second: float
    lag_ms: float | None

    def fields(self) -> list[tuple[str, str]]:
        """Return name and value of each."""
        return [
            ("sent", str(self.sent)),
            ("answered 200", str(self.delivered)),
            ("stored", str(self.stored)),
            ("inbox", str(self.waiting)),
            ("events/s", f"{self.per_second:.0f}"),
            ("lag", "-" if self.lag_ms is None else f"{self.lag_ms:.0f} ms"),
        ]


class Display:
    """Writes to one stream."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False, markup=False)
        self._live: Live | None = None
        self._last_line = 0.0

    def say(self, text: str) -> None:
        """Print one line."""
        self._console.print(text, soft_wrap=True)

    def show(self, progress: Progress) -> None:
        """Show how far the run is."""
        if self._console.is_terminal:
            if self._live is None:
                self._live = Live(console=self._console, auto_refresh=False)
                self._live.start()
            self._live.update(_line(progress), refresh=True)
        elif time.monotonic() - self._last_line >= _LINE_EVERY_S:
            self._last_line = time.monotonic()
            self.say("  ".join(f"{name} {value}" for name, value in progress.fields()))

    def end_progress(self) -> None:
        """Leave the last line of progress as it is and go on below it."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def table(self, title: str, lines: Iterable[tuple[str, str]]) -> None:
        """Print a table of two columns."""
        if not self._console.is_terminal:
            self.say(title)
            for name, value in lines:
                self.say(f"  {name:<34}{value}")
            return
        table = Table(title=title, show_header=False)
        table.add_column()
        table.add_column(justify="right")
        for name, value in lines:
            table.add_row(name, value)
        self._console.print(table)


def _line(progress: Progress) -> Table:
    table = Table(expand=False)
    for name, _ in progress.fields():
        table.add_column(name, justify="right", min_width=8)
    table.add_row(*(value for _, value in progress.fields()))
    return table
