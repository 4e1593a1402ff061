"""How long the database takes, by command: what the driver tells after each."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Histogram
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

SECONDS = Histogram(
    "mktx_mongodb_command_seconds",
    "Time from a command of the database to its answer; getMore includes what a change stream waits for news",
    ["command"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
FAILURES = Counter("mktx_mongodb_failures_total", "Commands of the database that failed", ["command"])

#: What gets a label of its own; everything else is `other`.
_COMMANDS = frozenset(
    {
        "abortTransaction",
        "aggregate",
        "bulkWrite",
        "commitTransaction",
        "count",
        "delete",
        "distinct",
        "find",
        "findAndModify",
        "getMore",
        "insert",
        "update",
    }
)
_MICROSECONDS = 1_000_000


class CommandMetrics(CommandListener):
    """Counts and times the commands of one client."""

    def started(self, event: CommandStartedEvent) -> None:
        """Do nothing: what an answer tells is enough."""

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Time a command."""
        _seconds(event.command_name).observe(event.duration_micros / _MICROSECONDS)

    def failed(self, event: CommandFailedEvent) -> None:
        """Time and count a command that failed."""
        _seconds(event.command_name).observe(event.duration_micros / _MICROSECONDS)
        FAILURES.labels(_label(event.command_name)).inc()


def _label(command: str) -> str:
    return command if command in _COMMANDS else "other"


# Finding a labelled metric costs more than observing; a driver has some dozens of commands.
@cache
def _seconds(command: str) -> Histogram:
    return SECONDS.labels(_label(command))
