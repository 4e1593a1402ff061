"""The embedded server through stops, crashes and starts of the program."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pymongo import AsyncMongoClient

from storage import embedded
from storage.embedded import EmbeddedMongo, EmbeddedMongoFailed, free_port


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("embedded")


@pytest.fixture
async def mongo(folder: Path) -> AsyncIterator[EmbeddedMongo]:
    """A server on the data that the tests before have left."""
    mongo = EmbeddedMongo(folder)
    await mongo.start()
    yield mongo
    await mongo.stop()


async def write(mongo: EmbeddedMongo, name: str) -> None:
    async with AsyncMongoClient(mongo.uri) as client:
        await client["kept"]["things"].insert_one({"_id": name})


async def kept(mongo: EmbeddedMongo) -> set[str]:
    async with AsyncMongoClient(mongo.uri) as client:
        return {thing["_id"] async for thing in client["kept"]["things"].find()}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


async def test_it_keeps_its_port_and_its_data_over_a_stop(mongo: EmbeddedMongo) -> None:
    await write(mongo, "stop")
    port, pid = mongo.port, mongo.pid
    await mongo.stop()
    assert mongo.pid is None
    assert pid is not None
    assert not alive(pid)
    await mongo.stop()
    await mongo.start()
    assert mongo.port == port
    assert mongo.pid not in {None, pid}
    assert "stop" in await kept(mongo)


async def test_it_takes_transactions_as_a_replica_set_on_whichever_port(folder: Path) -> None:
    for name in ("one", "other"):
        mongo = EmbeddedMongo(folder)
        mongo.port = free_port()
        await mongo.start()
        try:
            async with AsyncMongoClient(mongo.uri) as client, client.start_session() as session:
                async with await session.start_transaction():
                    await client["kept"]["things"].insert_one({"_id": name}, session=session)
                config = await client.admin.command("replSetGetConfig")
                assert config["config"]["members"][0]["host"] == f"127.0.0.1:{mongo.port}"
            assert name in await kept(mongo)
        finally:
            await mongo.stop()


async def test_after_a_kill_it_starts_again_with_everything_that_was_acknowledged(mongo: EmbeddedMongo) -> None:
    await write(mongo, "kill")
    assert mongo.pid is not None
    os.kill(mongo.pid, signal.SIGKILL)
    assert await mongo.wait() == -signal.SIGKILL
    await mongo.start()
    assert "kill" in await kept(mongo)


async def test_a_server_that_was_left_over_on_the_data_is_ended(mongo: EmbeddedMongo, folder: Path) -> None:
    await write(mongo, "left over")
    left = mongo.pid
    assert left is not None
    successor = EmbeddedMongo(folder)
    await successor.start()
    try:
        assert not alive(left)
        assert "left over" in await kept(successor)
    finally:
        await successor.stop()


async def test_a_stranger_with_the_number_in_the_lock_file_is_left_alone(folder: Path) -> None:
    stranger = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(600)")
    (folder / "mongodb" / "mongod.lock").write_text(f"{stranger.pid}\n")
    mongo = EmbeddedMongo(folder)
    try:
        await mongo.start()
        assert stranger.returncode is None
        assert alive(stranger.pid)
    finally:
        await mongo.stop()
        stranger.kill()
        await stranger.wait()


async def test_it_ends_with_the_process_that_started_it(folder: Path) -> None:
    script = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom storage.embedded import EmbeddedMongo\n"
        "async def main():\n    mongo = EmbeddedMongo(Path(sys.argv[1]))\n    await mongo.start()\n"
        "    print('pid', mongo.pid, flush=True)\n    await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    root = str(Path(embedded.__file__).parents[1])
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, str(folder), cwd=root, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    async with asyncio.timeout(120):
        while not (line := await parent.stdout.readline()).startswith(b"pid "):
            assert line, "it did not start"
    pid = int(line.split()[1])
    assert alive(pid)
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(60):
        while alive(pid):
            await asyncio.sleep(0.02)


async def test_a_server_that_does_not_run_is_told_in_one_line(tmp_path: Path) -> None:
    mongo = EmbeddedMongo(tmp_path, extra=("--noSuchOption",))
    with pytest.raises(EmbeddedMongoFailed, match="MKTX_MONGODB_URI"):
        await mongo.start()
    with pytest.raises(EmbeddedMongoFailed):
        await EmbeddedMongo(tmp_path / "other").wait()


async def test_its_files_can_be_removed(tmp_path: Path) -> None:
    mongo = EmbeddedMongo(tmp_path / "data")
    (tmp_path / "data" / "mongodb").mkdir(parents=True)
    mongo.erase()
    mongo.erase()
    assert not (tmp_path / "data").exists()
