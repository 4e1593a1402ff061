"""What may start while the database is being prepared, and waits until it is: a file that the supervisor holds locked.

The kernel lets go of the lock however the supervisor ends, so that nothing waits for a preparation that nobody does.
"""

from __future__ import annotations

import contextlib
import fcntl
from pathlib import Path
from typing import IO

_NAME = "preparing.lock"


class Preparation:
    """The supervisor's side: others wait from `begin` to `end`."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / _NAME
        self._held: IO[bytes] | None = None

    def begin(self) -> None:
        """Have others wait."""
        self._held = self._path.open("ab")
        fcntl.flock(self._held, fcntl.LOCK_EX)

    def end(self) -> None:
        """Let others go on; safe to repeat."""
        if self._held is not None:
            self._held.close()
            self._held = None


def wait_until_prepared(data_dir: Path) -> None:
    """Return once nobody prepares the database; blocks until then."""
    with contextlib.suppress(FileNotFoundError), (data_dir / _NAME).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
