"""The folder of the metrics: emptied at the start, and freed of what dead processes said of the present."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from program.metrics_files import VARIABLE, MetricsFiles

WRITE = """
from prometheus_client import Counter, Gauge
Counter("c_total", "c").inc()
Gauge("sum", "s", multiprocess_mode="livesum").set(3)
Gauge("greatest", "g", multiprocess_mode="livemax").set(4)
Gauge("latest", "l", multiprocess_mode="mostrecent").set(5)
print("written", flush=True)
input()
"""


async def process(files: MetricsFiles) -> asyncio.subprocess.Process:
    environment = {**os.environ, **files.environment}
    pipe = asyncio.subprocess.PIPE
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITE, env=environment, stdin=pipe, stdout=pipe)
    assert await writer.stdout.readline() == b"written\n"
    return writer


async def test_what_a_dead_process_said_of_the_present_is_removed_and_its_counts_stay(tmp_path: Path) -> None:
    files = MetricsFiles(tmp_path / "metrics")
    files.start()
    dead, alive = await process(files), await process(files)
    files.look()
    before = {path.name for path in (tmp_path / "metrics").iterdir()}
    dead.kill()
    await dead.wait()
    async with asyncio.timeout(30):
        while (tmp_path / "metrics" / f"gauge_livesum_{dead.pid}.db").exists():
            await asyncio.sleep(0.05)
    await files.stop()
    left = {path.name for path in (tmp_path / "metrics").iterdir()}
    assert before - left == {f"gauge_livesum_{dead.pid}.db", f"gauge_livemax_{dead.pid}.db"}
    assert {f"counter_{dead.pid}.db", f"gauge_mostrecent_{dead.pid}.db", f"gauge_livesum_{alive.pid}.db"} <= left
    alive.stdin.close()
    await alive.wait()


async def test_a_start_begins_with_an_empty_folder(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"of an earlier run")
    files = MetricsFiles(folder)
    files.start()
    assert list(folder.iterdir()) == []
    assert files.environment == {VARIABLE: str(folder)}
    await files.stop()


async def test_a_folder_that_cannot_be_read_for_a_while_is_looked_at_again(tmp_path: Path, monkeypatch) -> None:
    files = MetricsFiles(tmp_path)
    looks: list[str] = []

    def look() -> None:
        looks.append("look")
        if len(looks) == 1:
            raise PermissionError("not now")

    monkeypatch.setattr(files, "look", look)
    monkeypatch.setattr("program.metrics_files._EVERY_S", 0)
    files.start()
    async with asyncio.timeout(30):
        while len(looks) < 3:
            await asyncio.sleep(0)
    await files.stop()
