"""Keeps the log lines of the program and of its children away from what a person looks at."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

_STREAMS = (1, 2)


@contextmanager
def logging_to(path: Path) -> Iterator[TextIO]:
    """Have all that this process and the processes it starts print go to a file; yield the former standard output."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _flush()
    former = [os.dup(stream) for stream in _STREAMS]
    try:
        with path.open("ab") as log:
            for stream in _STREAMS:
                os.dup2(log.fileno(), stream)
        with os.fdopen(os.dup(former[0]), "w", encoding=sys.stdout.encoding, errors="replace") as terminal:
            yield terminal
    finally:
        _flush()
        for stream, before in zip(_STREAMS, former, strict=True):
            os.dup2(before, stream)
            os.close(before)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
