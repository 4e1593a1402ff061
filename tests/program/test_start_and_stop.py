"""Starting, stopping and breaking the program as a user does; one program serves most of these tests in turn."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import aiohttp
import orjson
import pytest

from config.environment import ROOT
from domain.x_signature import sign
from program.bundled_sandbox import CONSUMER_SECRET
from storage.embedded import die_with_parent
from tests.domain.x_payloads import aaa, item
from tests.program.running_program import PATIENCE_S, Program, processes_of

pytestmark = pytest.mark.program

WEBHOOK = "/api/v1/mkt-x/webhooks/twitter"
NOT_SET = {"MKTX_ADMIN_EMAIL": "", "MKTX_ADMIN_PASSWORD": "", "MKTX_SANDBOX_RATE": "0", "MKTX_SANDBOX_CUSTOMERS": "1"}


#: How much a program had written before it was started last.
began: dict[Program, int] = {}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():
            await asyncio.sleep(0.05)


def ray_folder(program: Program) -> Path:
    digest = hashlib.blake2b(str(program.data_dir).encode(), digest_size=4).hexdigest()
    return Path(tempfile.gettempdir()) / f"mktx-{digest}"


def plasma_files() -> set[Path]:
    return {name for name in Path("/dev/shm").iterdir() if "plasma" in name.name}


def listened_at(pids: Iterable[int]) -> set[int]:
    """Return the TCP ports that processes listen at."""
    ports = {}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                ports[f"socket:[{fields[9]}]"] = int(fields[1].rsplit(":", 1)[1], 16)
    found = set()
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(ports.get(str(descriptor.readlink())))
    return {port for port in found if port is not None}


@contextmanager
def leaves_nothing(program: Program) -> Iterator[None]:
    """Check that what runs in here leaves no process, port, lock, socket or temporary file."""
    before = plasma_files()
    yield
    assert list(processes_of(program.data_dir)) == []
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", program.port))
    with (program.data_dir / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert not ray_folder(program).exists()
    assert not (program.data_dir / "logs" / "lines.sock").exists()
    assert not plasma_files() - before


@pytest.fixture(scope="module")
async def installation(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Program]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        program = Program(session, tmp_path_factory.mktemp("start"), None, **NOT_SET)
        yield program
        if program.process is not None:
            await program.stop()
            await program.until_nothing_is_left()


@pytest.fixture
async def program(installation: Program) -> Program:
    """Return the program, ready, started anew where a test has ended it."""
    if installation.process is None or installation.process.returncode is not None:
        await start(installation)
    await installation.until_ready()
    await until_banner(installation)
    await log_in(installation)
    return installation


async def until_banner(program: Program) -> None:
    async def shown() -> bool:
        assert program.process.returncode is None, program.output.read_text()[-3000:]
        return "Ctrl-C stops it" in of_this_start(program)

    await until(shown)


async def start(program: Program) -> None:
    began[program] = program.output.stat().st_size if program.output.exists() else 0
    await program.start()


def of_this_start(program: Program) -> str:
    """Return what the program has written since it was started last."""
    return program.output.read_bytes()[began[program] :].decode()


def shown(program: Program, what: str) -> str:
    """Return a line of the banner."""
    return re.findall(rf"^  {what} +(\S+)$", of_this_start(program), re.MULTILINE)[0]


async def log_in(program: Program) -> None:
    email, password = shown(program, "login"), shown(program, "password")
    status, answer = await program.call("POST", "/api/v1/auth/login", {"email": email, "password": password})
    assert status == 200, answer
    program.headers = {"Authorization": f"Bearer {answer['data']['accessToken']}"}


def sandbox_url(program: Program) -> str:
    return re.findall(r"simulated by the bundled sandbox at (\S+)", of_this_start(program))[0]


async def send(program: Program, text: str) -> None:
    """Answer the first conversation, as soon as that works, and see the message arrive in the simulated X."""

    said: object = None

    async def sent() -> bool:
        nonlocal said
        try:
            status, listed = said = await program.api("GET", "/conversations?take=1")
            if status != 200 or not listed["data"]:
                return False
            conversation = listed["data"][0]["id"]
            body = {"content": text, "type": "text"}
            status, answer = said = await program.api(
                "POST", f"/conversations/{conversation}/messages", body, **{"Idempotency-Key": text.replace(" ", "-")}
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            said = error
            return False
        assert status in {200, 202, 409, 502, 503}, answer
        # 202: taken, and still under way when the answer was due; the same answer is given again under the key.
        return status in {200, 202}

    async def arrived() -> bool:
        return text in await texts_in_x(program)

    try:
        await until(sent)
        await until(arrived)
    except TimeoutError:
        raise AssertionError(f"it was not sent; the program said last: {said}") from None
    assert (await texts_in_x(program)).count(text) == 1


async def texts_in_x(program: Program) -> list[str]:
    async with program._session.get(f"{sandbox_url(program)}/sandbox/messages") as response:
        return [message["text"] for message in (await response.json())["messages"]]


async def post_event(program: Program, message_id: str, text: str) -> int:
    body = orjson.dumps(aaa(item(message_id, text=text)))
    headers = {"x-twitter-webhooks-signature": sign(CONSUMER_SECRET.encode(), body)}
    async with program._session.post(program.base_url + WEBHOOK, data=body, headers=headers) as response:
        return response.status


async def run(*arguments: str, **settings: str) -> tuple[int, str, str]:
    """Run a command to its end; return its code and what it wrote."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MKTX_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "run.py",
        *arguments,
        cwd=ROOT,
        env=environment | settings,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent(),
    )
    async with asyncio.timeout(PATIENCE_S):
        output, errors = await process.communicate()
    return process.returncode or 0, output.decode(), errors.decode()


# --- a program that runs


async def test_a_second_program_on_the_same_data_is_refused(program: Program) -> None:
    kept = (program.data_dir / "generated.json").read_bytes()
    pids = sorted(processes_of(program.data_dir))
    code, _, errors = await run("serve", MKTX_PORT="0", MKTX_DATA_DIR=str(program.data_dir))

    assert code == 2
    [line] = errors.splitlines()
    assert line.startswith("error: MKTX_DATA_DIR: ")
    assert (program.data_dir / "generated.json").read_bytes() == kept
    assert sorted(processes_of(program.data_dir)) == pids
    assert await program.is_ready()


async def test_a_second_program_on_the_same_port_is_refused(program: Program, tmp_path: Path) -> None:
    # Gateways share their port: without a check both programs would serve every other request.
    code, _, errors = await run("serve", MKTX_PORT=str(program.port), MKTX_DATA_DIR=str(tmp_path / "other"))

    assert code == 1
    [line] = errors.splitlines()
    assert line.startswith("error: ")
    assert str(program.port) in line
    assert "MKTX_PORT" in line
    assert list(processes_of(tmp_path / "other")) == []


async def test_a_killed_gateway_comes_back_by_itself(program: Program) -> None:
    [before] = program.pids("gateway")
    hosts = program.pids("host")
    program.kill("gateway")
    await until(lambda: _changed(program, "gateway", [before]))
    await program.until_ready()

    assert program.pids("host") == hosts
    await send(program, "after the gateway was killed")


async def _changed(program: Program, part: str, before: list[int]) -> bool:
    now = program.pids(part)
    return bool(now) and not set(now) & set(before)


@pytest.mark.parametrize("part", ["program/ray_watch.py ", "raylet/raylet "])
async def test_a_ray_of_which_a_part_was_killed_comes_back_as_a_whole(program: Program, part: str) -> None:
    hosts = program.pids("host")
    [pid] = [pid for pid, command in processes_of(program.data_dir) if part in command]
    os.kill(pid, signal.SIGKILL)
    await until(lambda: _changed(program, "host", hosts))
    await program.until_ready()

    await send(program, f"after {part} was killed")
    assert await post_event(program, "88001", "hello again") == 200


async def test_a_killed_mongod_comes_back_even_when_it_is_killed_while_it_starts(program: Program) -> None:
    for _ in range(2):
        before = program.pids("mongod")
        program.kill("mongod")
        await until(lambda before=before: _changed(program, "mongod", before))
    await program.until_ready()
    await send(program, "after mongod was killed twice")


async def test_after_kill_9_nothing_runs_on_and_a_new_start_has_all_that_was_there(program: Program) -> None:
    await send(program, "before the program was killed")
    _, accounts = await program.api("GET", "/accounts")
    _, conversations = await program.api("GET", "/conversations")
    path = f"/conversations/{conversations['data'][0]['id']}/messages?take=100"
    _, messages = await program.api("GET", path)
    password = shown(program, "password")

    program.process.kill()
    await program.process.wait()
    await program.until_nothing_is_left()
    await start(program)
    await until_banner(program)
    await log_in(program)

    assert shown(program, "password") == password
    _, accounts_now = await program.api("GET", "/accounts")
    assert [account["id"] for account in accounts_now["data"]] == [account["id"] for account in accounts["data"]]
    _, messages_now = await program.api("GET", path)
    assert {message["id"] for message in messages["data"]} <= {message["id"] for message in messages_now["data"]}
    # The account's tokens were sealed with the generated key.
    await send(program, "after the program was killed")


async def test_sigterm_ends_it_with_code_0_and_nothing_is_left(program: Program) -> None:
    assert ray_folder(program).exists()
    with leaves_nothing(program):
        program.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            assert await program.process.wait() == 0
    assert program.output.read_text().rstrip().endswith("stopped")


# --- a program that starts


async def suspend_ray(program: Program) -> int:
    """Stop Ray's first process as soon as it is there; return its id."""
    found: list[int] = []

    async def there() -> bool:
        found[:] = [pid for pid, command in processes_of(program.data_dir) if "program.ray_command start" in command]
        return bool(found)

    await until(there)
    os.kill(found[0], signal.SIGSTOP)
    return found[0]


async def is_live(program: Program) -> bool:
    try:
        status, _ = await program.call("GET", "/health/live")
    except (aiohttp.ClientError, TimeoutError):
        return False
    return status == 200


async def test_ports_of_actors_are_such_as_no_other_ray_takes_at_the_same_moment(program: Program) -> None:
    ports = listened_at(pid for pid, _ in processes_of(program.data_dir))
    assert program.port in ports
    # What Ray hands out unless it is told otherwise, looking first and taking later.
    assert ports.isdisjoint(set(range(10_002, 20_000)) - {program.port})


async def test_webhooks_are_accepted_before_ray_is_ready_and_never_lost(program: Program) -> None:
    with leaves_nothing(program):
        assert await program.stop() == 0
    await start(program)
    ray = await suspend_ray(program)
    await until(lambda: is_live(program))

    status, health = await program.call("GET", "/health/ready")
    assert status == 503
    assert (health["parts"]["database"]["ready"], health["parts"]["actors"]["ready"]) == (True, False)
    for number in range(5):
        assert await post_event(program, str(77000 + number), f"early {number}") == 200

    os.kill(ray, signal.SIGCONT)
    await until_banner(program)
    await log_in(program)
    client = program.database()
    early = [f"early {number}" for number in range(5)]

    async def stored() -> bool:
        found = await client["mktx"]["messages"].find({"content": {"$in": early}}).to_list()
        return sorted(message["content"] for message in found) == early

    await until(stored)
    await client.close()


@pytest.mark.parametrize("sign_of_stop", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_during_the_start_stops_it_cleanly(
    installation: Program, tmp_path: Path, sign_of_stop: signal.Signals
) -> None:
    program = Program(installation._session, tmp_path, None, **NOT_SET)
    with leaves_nothing(program):
        await start(program)
        if sign_of_stop is signal.SIGINT:
            await suspend_ray(program)
            await until(lambda: is_live(program))
        else:
            # As early as can be: Ray is there, and the database is not.
            await suspend_ray(program)
        program.process.send_signal(sign_of_stop)
        async with asyncio.timeout(PATIENCE_S):
            assert await program.process.wait() == 0
    assert "Traceback" not in program.output.read_text()


# --- a program that can't start


async def refused(tmp_path: Path, **settings: str) -> tuple[int, str]:
    """Start with these settings; return the exit code and the one line of error."""
    data_dir = tmp_path / "data"
    port = str(settings.pop("MKTX_PORT", 0))
    code, output, errors = await run("serve", MKTX_DATA_DIR=str(data_dir), MKTX_PORT=port, **settings)
    assert list(processes_of(data_dir)) == []
    assert "Traceback" not in output + errors
    [line] = errors.splitlines()
    return code, line


async def test_a_port_in_use_ends_the_start_with_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, line = await refused(tmp_path, MKTX_PORT=port)
    assert code == 1
    assert "MKTX_PORT" in line
    assert str(port) in line


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "shop.invalid"])
async def test_an_address_that_is_not_ours_ends_the_start_with_one_line(tmp_path: Path, host: str) -> None:
    code, line = await refused(tmp_path, MKTX_HOST=host)
    assert code == 1
    assert "MKTX_HOST" in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MKTX_ENCRYPTION_KEY", "canary"),
        ("MKTX_ENCRYPTION_KEYS_OLD", "Y2FuYXJ5"),
        ("MKTX_JWT_PUBLIC_KEY", "canary"),
        ("MKTX_DATA_DIR", "/proc/canary"),
        ("MKTX_LOG_LEVEL", "loud"),
    ],
)
async def test_a_setting_that_can_not_be_used_ends_the_start_with_its_name(
    tmp_path: Path, name: str, value: str
) -> None:
    settings = {"MKTX_PORT": "0", "MKTX_DATA_DIR": str(tmp_path / "data"), name: value}
    code, output, errors = await run("serve", **settings)
    assert code == 2
    [line] = errors.splitlines()
    assert line.startswith(f"error: {name}: ")
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("uri", "code"), [("http://db/", 2), ("mongodb://me:canary@", 2), ("mongodb://me:canary@127.0.0.1:1/", 1)]
)
async def test_a_database_that_can_not_be_used_ends_the_start_with_one_line(
    tmp_path: Path, uri: str, code: int
) -> None:
    ended, line = await refused(tmp_path, MKTX_MONGODB_URI=uri, MKTX_MONGODB_TIMEOUT_S="1")
    assert ended == code
    assert line.startswith("error: MKTX_MONGODB_URI: ")
    assert "canary" not in line
