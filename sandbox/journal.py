"""What the simulated X remembers over a restart: JSON lines, one a change."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import orjson

from sandbox.body import JsonObject, as_object, as_text, dump


class Journal:
    """An append-only file of `{"kind", "data"}` lines; without a path it writes nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def read(self) -> Iterator[tuple[str, JsonObject]]:
        """Yield what was written, in order; a last line that a kill cut off is dropped from the file."""
        if self._path is None or not self._path.exists():
            return
        whole = 0
        with self._path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                entry = as_object(orjson.loads(line))
                yield as_text(entry.get("kind")), as_object(entry.get("data"))
        if whole < self._path.stat().st_size:
            with self._path.open("r+b") as file:
                file.truncate(whole)

    def append(self, kind: str, data: JsonObject) -> None:
        """Write one line and flush it to the operating system."""
        if self._path is None:
            return
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab")
        self._file.write(dump({"kind": kind, "data": data}) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; a later `append` opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None
