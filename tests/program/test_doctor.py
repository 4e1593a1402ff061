from __future__ import annotations

import asyncio
import fcntl
import resource
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web
from packaging.requirements import Requirement
from pydantic import SecretStr

from config.environment import ROOT
from config.settings import Settings
from domain.clock import ManualClock, SystemClock
from domain.x_signature import crc_answer
from gateway.webhooks import PATH
from program import doctor_database, doctor_machine, doctor_ray, doctor_settings, doctor_x
from program.doctor import CHECKS, doctor, show
from program.doctor_finding import Check, Finding, Outcome, failed, ok, warning
from program.doctor_installation import Installation, examining
from program.ray_node import RayNode
from sandbox.server import running as running_sandbox
from storage.accounts import Accounts, Identity, Tokens
from storage.client import Database, database_of, open_client
from storage.embedded import EmbeddedMongo, free_port
from storage.encryption import key_ring
from storage.indexes import ensure_indexes
from tests.sandbox.shop import BEARER, KEY, SECRET, make_world
from tests.serving import serving

Look = Callable[[Installation], Awaitable[Finding]]

OTHER_KEY = "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXphYmNkZWY="
TOKENS = Tokens("sandbox-token-100", "sandbox-secret-100")


def change(settings: Settings, **update: Any) -> Settings:
    return settings.model_copy(update=update)


@asynccontextmanager
async def installation_of(
    settings: Settings, database: Database | None = None, **update: Any
) -> AsyncIterator[Installation]:
    async with aiohttp.ClientSession() as session:
        yield Installation(
            **{
                "given": settings,
                "settings": settings,
                "session": session,
                "clock": SystemClock(),
                "running": False,
                "database": database,
                "no_database": "" if database is not None else "there is none",
                **update,
            }
        )


async def outcome(look: Look, settings: Settings, database: Database | None = None, **update: Any) -> Outcome:
    async with installation_of(settings, database, **update) as installation:
        return (await look(installation)).outcome


def named(name: str) -> Check:
    return next(check for check in CHECKS if check.name == name)


# --- settings

PRODUCTION = Settings.model_construct(
    host="127.0.0.1",
    public_url="https://shop.example",
    x_consumer_key="key",
    x_consumer_secret=SecretStr("secret"),
    x_bearer_token=SecretStr("bearer"),
    mongodb_uri=SecretStr("mongodb://a,b,c/?replicaSet=r"),
    jwt_secret=SecretStr("j" * 32),
    encryption_key=SecretStr(OTHER_KEY),
    admin_password=SecretStr("password"),
)


async def test_settings_for_production_are_all_well() -> None:
    for check in doctor_settings.CHECKS:
        assert await outcome(check.look, PRODUCTION) is Outcome.OK, check.name


@pytest.mark.parametrize(
    ("look", "changes", "expected"),
    [
        (doctor_settings.x_app, {"x_consumer_key": ""}, Outcome.WARNING),
        (doctor_settings.x_app, {"x_bearer_token": SecretStr("")}, Outcome.FAILED),
        (doctor_settings.x_app, {"x_api_base_url": "http://api.x.com"}, Outcome.FAILED),
        (doctor_settings.public_url, {"public_url": ""}, Outcome.FAILED),
        (doctor_settings.public_url, {"public_url": "", "x_consumer_key": ""}, Outcome.OK),
        (doctor_settings.public_url, {"public_url": "http://shop.example"}, Outcome.FAILED),
        (doctor_settings.public_url, {"public_url": "http://shop.example", "x_consumer_key": ""}, Outcome.WARNING),
        (doctor_settings.public_url, {"public_url": "https://shop.example:8443"}, Outcome.FAILED),
        (doctor_settings.secrets, {"encryption_key": SecretStr("")}, Outcome.WARNING),
        (doctor_settings.secrets, {"jwt_secret": SecretStr("")}, Outcome.WARNING),
        (doctor_settings.secrets, {"jwt_secret": SecretStr(""), "jwt_public_key": "pem"}, Outcome.OK),
        (doctor_settings.secrets, {"jwt_secret": SecretStr("short")}, Outcome.WARNING),
        (doctor_settings.secrets, {"admin_password": SecretStr("")}, Outcome.WARNING),
        (doctor_settings.listening, {"host": "0.0.0.0", "public_url": ""}, Outcome.WARNING),
        (doctor_settings.listening, {"host": "0.0.0.0"}, Outcome.OK),
        (doctor_settings.database_address, {"mongodb_uri": SecretStr("")}, Outcome.WARNING),
        (doctor_settings.sending_limit, {"x_messages_per_day": 501}, Outcome.WARNING),
        (doctor_settings.links, {"fetch_private_addresses": True}, Outcome.WARNING),
    ],
)
async def test_a_dangerous_setting_is_found(look: Look, changes: dict[str, Any], expected: Outcome) -> None:
    assert await outcome(look, change(PRODUCTION, **changes)) is expected


# --- machine


async def test_a_data_directory_that_can_be_written_to_is_well(settings: Settings) -> None:
    assert await outcome(doctor_machine.data_directory, settings) is Outcome.OK
    assert await outcome(doctor_machine.disk, settings) in {Outcome.OK, Outcome.WARNING}
    new = change(settings, data_dir=settings.data_dir / "new" / "one")
    assert await outcome(doctor_machine.data_directory, new) is Outcome.OK
    assert not new.data_dir.exists()


async def test_a_data_directory_that_can_not_be_made_has_failed(settings: Settings) -> None:
    (settings.data_dir / "file").touch()
    below_a_file = change(settings, data_dir=settings.data_dir / "file" / "data")
    assert await outcome(doctor_machine.data_directory, below_a_file) is Outcome.FAILED
    assert await outcome(doctor_machine.data_directory, change(settings, data_dir=Path("/proc"))) is Outcome.FAILED


def test_little_room_is_a_warning_and_none_a_failure() -> None:
    gib = doctor_machine.GIB
    assert [doctor_machine.judge_disk(free * gib // 2).outcome for free in (20, 4, 1)] == list(Outcome)
    assert [doctor_machine.judge_memory(left * gib, 4 * gib).outcome for left in (4, 3, 1)] == list(Outcome)
    mib = gib // 1024
    found = [doctor_ray.judge_shared_memory(free * mib).outcome for free in (256, 64)]
    assert found == [Outcome.OK, Outcome.WARNING]


async def test_memory_is_judged_by_what_starts_on_this_machine(settings: Settings) -> None:
    everything = change(settings, mongodb_uri=SecretStr(""), actor_hosts=4)
    elsewhere = change(settings, ray_address="ray.example:6379")
    assert doctor_machine.needed_memory(everything) > 4 * doctor_machine.needed_memory(elsewhere)
    assert doctor_machine.available_memory() > 0
    huge = change(everything, mongodb_cache_mb=2**40)
    assert await outcome(doctor_machine.memory, huge) is Outcome.FAILED
    assert await outcome(doctor_machine.memory, huge, running=True) is Outcome.OK


async def test_too_few_open_files_are_found(settings: Settings) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = []
    try:
        for limit in (4096, 2048, 512):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            found.append(await outcome(doctor_machine.open_files, settings))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == list(Outcome)


async def test_a_running_program_is_asked_whether_it_is_ready(settings: Settings) -> None:
    parts = {"database": {"ready": True}, "actors": {"ready": False}}
    status = 200

    async def ready(_: web.Request) -> web.Response:
        return web.json_response({"parts": parts}, status=status)

    assert await outcome(doctor_machine.program, settings) is Outcome.OK
    async with (
        serving(web.get("/health/ready", ready)) as url,
        installation_of(change(settings, port=int(url.rpartition(":")[2]))) as here,
    ):
        installation = Installation(settings, here.settings, here.session, here.clock, running=True, database=None)
        assert (await doctor_machine.program(installation)).outcome is Outcome.OK
        status = 503
        finding = await doctor_machine.program(installation)
    assert finding.outcome is Outcome.FAILED
    assert "actors" in finding.found
    assert "database" not in finding.found
    unreachable = change(settings, port=free_port())
    assert await outcome(doctor_machine.program, unreachable, running=True) is Outcome.FAILED


# --- database


async def connected(database: Database, settings: Settings, tokens: Tokens = TOKENS, user: str = "100") -> None:
    await Accounts(database, key_ring(settings)).connect(
        "merchant",
        f"account-{user}",
        Identity(user, f"shop_{user}", "Shop", None),
        tokens,
        webhook_id=None,
        defaults={},
        now=SystemClock().now(),
    )


async def test_a_prepared_database_is_well(settings: Settings, database: Database) -> None:
    await connected(database, settings)
    for check in doctor_database.CHECKS:
        async with installation_of(settings, database) as installation:
            finding = await check.look(installation)
        assert finding.outcome is Outcome.OK, (check.name, finding.found)
    assert set(await database.list_collection_names()) >= {"accounts"}
    assert "doctorProbes" not in await database.list_collection_names()


async def test_missing_indexes_are_found(settings: Settings, database: Database) -> None:
    await database["messages"].drop_indexes()
    try:
        async with installation_of(settings, database) as installation:
            finding = await named("indexes").look(installation)
    finally:
        await ensure_indexes(database)
    assert finding.outcome is Outcome.WARNING
    assert "messages.accountId_1_twitterMessageId_1" in finding.found


async def test_what_was_put_aside_is_counted(settings: Settings, database: Database) -> None:
    look = named("dead letters").look
    await database["deadLetters"].insert_one({"_id": "1", "reason": "unknown_account"})
    async with installation_of(settings, database) as installation:
        finding = await look(installation)
        assert (finding.outcome, "1 events" in finding.found) == (Outcome.WARNING, True)
        await database["deadLetters"].insert_many([{"_id": number, "reason": "failed: KeyError"} for number in (2, 3)])
        finding = await look(installation)
        assert (finding.outcome, "2 documents" in finding.found) == (Outcome.WARNING, True)


async def test_a_key_that_does_not_open_the_tokens_has_failed(settings: Settings, database: Database) -> None:
    await connected(database, settings)
    look = named("encryption key").look
    other = change(settings, encryption_key=SecretStr(OTHER_KEY))
    assert await outcome(look, other, database) is Outcome.FAILED
    both = change(other, encryption_keys_old=settings.encryption_key)
    assert await outcome(look, both, database) is Outcome.OK
    assert await outcome(look, change(settings, encryption_key=SecretStr("no key")), database) is Outcome.FAILED
    assert await outcome(look, change(settings, encryption_key=SecretStr("")), database) is Outcome.FAILED
    await database["accounts"].delete_many({})
    assert await outcome(look, change(settings, encryption_key=SecretStr("")), database) is Outcome.OK


async def test_a_stopped_server_has_failed_every_check_of_the_database(settings: Settings) -> None:
    mongo = EmbeddedMongo(settings.data_dir)
    await mongo.start()
    there = change(settings, mongodb_uri=SecretStr(mongo.uri), mongodb_timeout_s=1)
    async with examining(there) as installation:
        assert (await named("durable write").run(installation)).outcome is Outcome.OK
        await mongo.stop()
        findings = [await check.run(installation) for check in doctor_database.CHECKS]
    assert {finding.outcome for finding in findings} == {Outcome.FAILED}


async def test_a_server_without_replica_set_has_failed(settings: Settings, tmp_path: Path) -> None:
    from storage.embedded import _binary, die_with_parent

    port = free_port()
    process = await asyncio.create_subprocess_exec(
        str(_binary()),
        f"--dbpath={tmp_path}",
        f"--port={port}",
        "--bind_ip=127.0.0.1",
        "--nounixsocket",
        stdout=asyncio.subprocess.DEVNULL,
        preexec_fn=die_with_parent(),
    )
    alone = change(settings, mongodb_uri=SecretStr(f"mongodb://127.0.0.1:{port}/"), mongodb_timeout_s=60)
    client = open_client(alone)
    try:
        assert await outcome(named("replica set").look, alone, database_of(client, alone)) is Outcome.FAILED
    finally:
        await client.close()
        process.terminate()
        await process.wait()


async def test_the_embedded_server_of_a_running_program_is_found(settings: Settings) -> None:
    embedded = change(settings, mongodb_uri=SecretStr(""))
    mongo = EmbeddedMongo(settings.data_dir)
    await mongo.start()
    with (settings.data_dir / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with examining(embedded) as installation:
            assert installation.running
            assert (await named("database").run(installation)).outcome is Outcome.OK
        await mongo.stop()
        async with examining(embedded) as installation:
            assert (await named("database").run(installation)).outcome is Outcome.FAILED


async def test_an_address_that_can_not_be_read_has_failed_without_being_shown(settings: Settings) -> None:
    async with examining(change(settings, mongodb_uri=SecretStr("mongo://user:hidden@host"))) as installation:
        finding = await named("database").run(installation)
    assert finding.outcome is Outcome.FAILED
    assert "hidden" not in finding.found


# --- Ray


async def test_rays_version_is_held_against_the_projects_own_pin(settings: Settings) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pin = next(r for r in map(Requirement, project["dependencies"]) if r.name == "ray").specifier
    for found in ("2.51.9", "2.52.0", "2.53.0", "2.53.9", "2.54.0", "2.60.1", "3.0.0", "1.13.0", version("ray")):
        assert (doctor_ray.judge_version(found).outcome is Outcome.OK) == pin.contains(found), found
    assert await outcome(doctor_ray.installed, settings) is Outcome.OK


async def test_a_cluster_that_is_not_there_has_failed(settings: Settings) -> None:
    nobody = change(settings, ray_address=f"127.0.0.1:{free_port()}")
    assert await outcome(doctor_ray.cluster, nobody) is Outcome.FAILED
    assert await outcome(doctor_ray.cluster, settings) is Outcome.OK


async def test_what_is_no_ray_has_failed_at_the_deadline(settings: Settings) -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with installation_of(change(settings, ray_address=f"127.0.0.1:{port}")) as installation:
            finding = await Check("Ray cluster", doctor_ray.cluster, deadline_s=2).run(installation)
    assert finding.outcome is Outcome.FAILED


@pytest.mark.ray
async def test_a_cluster_that_is_there_is_joined(settings: Settings) -> None:
    (settings.data_dir / "logs").mkdir(exist_ok=True)
    node = RayNode(settings, 2, {})
    await node.start()
    try:
        there = change(settings, ray_address=node.address)
        async with asyncio.timeout(120), installation_of(there) as installation:
            while True:
                finding = await doctor_ray.cluster(installation)
                if finding.outcome is Outcome.OK:
                    break
                await asyncio.sleep(0.2)
    finally:
        await node.stop(5)
    assert "1 nodes, 2 processors" in finding.found


# --- X


@asynccontextmanager
async def real_x(settings: Settings) -> AsyncIterator[tuple[Settings, aiohttp.ClientSession, Any]]:
    """Serve a simulated X, and something that answers its challenges at the public address."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"response_token": crc_answer(SECRET.encode(), request.query["crc_token"])})

    world = make_world()
    async with (
        running_sandbox(world) as url,
        serving(web.get(PATH, answer)) as address,
        aiohttp.ClientSession() as session,
    ):
        there = change(
            settings,
            x_api_base_url=url,
            x_consumer_key=KEY,
            x_consumer_secret=SecretStr(SECRET),
            x_bearer_token=SecretStr(BEARER),
            public_url=address,
        )
        yield there, session, world


async def test_an_x_that_has_us_as_we_are_is_well(settings: Settings, database: Database) -> None:
    await connected(database, settings)
    async with real_x(settings) as (there, session, _):
        headers = {"Authorization": f"Bearer {BEARER}"}
        body = {"url": there.public_url + PATH}
        async with session.post(f"{there.x_api_base_url}/2/webhooks", json=body, headers=headers) as response:
            assert response.status == 200
        for check in doctor_x.CHECKS:
            async with installation_of(there, database) as installation:
                finding = await check.run(installation)
            assert finding.outcome is Outcome.OK, (check.name, finding)


async def test_a_wrong_bearer_token_has_failed(settings: Settings) -> None:
    async with real_x(settings) as (there, _, _):
        wrong = change(there, x_bearer_token=SecretStr("wrong"))
        assert await outcome(doctor_x.bearer_token, wrong) is Outcome.FAILED
        assert await outcome(doctor_x.webhook, wrong) is Outcome.FAILED


async def test_an_x_that_is_not_there_has_failed(settings: Settings, database: Database) -> None:
    await connected(database, settings)
    nobody = change(settings, x_api_base_url=f"http://127.0.0.1:{free_port()}", public_url="http://127.0.0.1:1")
    for look in (doctor_x.bearer_token, doctor_x.account_tokens, doctor_x.webhook, doctor_x.clock):
        assert await outcome(look, nobody, database) is Outcome.FAILED, look


async def test_tokens_that_x_refuses_have_failed_and_are_not_shown(settings: Settings, database: Database) -> None:
    await connected(database, settings, Tokens("hidden-token", "hidden-secret"))
    await connected(database, settings, TOKENS, user="101")
    async with real_x(settings) as (there, _, _), installation_of(there, database) as installation:
        finding = await doctor_x.account_tokens(installation)
    assert finding.outcome is Outcome.FAILED
    assert "shop_100 (tokens_refused)" in finding.found
    assert "shop_101 (tokens of another account)" in finding.found
    assert "hidden" not in finding.found


async def test_a_webhook_that_is_missing_or_invalid_is_found(settings: Settings) -> None:
    async with real_x(settings) as (there, session, world):
        assert await outcome(doctor_x.webhook, there) is Outcome.WARNING
        headers = {"Authorization": f"Bearer {BEARER}"}
        body = {"url": there.public_url + PATH}
        await session.post(f"{there.x_api_base_url}/2/webhooks", json=body, headers=headers)
        [webhook_id] = world.webhooks
        await session.post(f"{there.x_api_base_url}/sandbox/webhooks/{webhook_id}", json={"valid": False})
        assert await outcome(doctor_x.webhook, there) is Outcome.FAILED
        assert await outcome(doctor_x.webhook, change(there, public_url="")) is Outcome.FAILED


async def test_a_challenge_that_is_answered_with_another_secret_has_failed(settings: Settings) -> None:
    async with real_x(settings) as (there, _, _):
        other = change(there, x_consumer_secret=SecretStr("another"))
        assert await outcome(doctor_x.challenge, other) is Outcome.FAILED
        elsewhere = change(there, public_url=there.x_api_base_url)
        assert await outcome(doctor_x.challenge, elsewhere) is Outcome.FAILED
        nowhere = change(there, public_url=f"http://127.0.0.1:{free_port()}")
        assert await outcome(doctor_x.challenge, nowhere) is Outcome.WARNING
        assert await outcome(doctor_x.challenge, nowhere, running=True) is Outcome.FAILED


@pytest.mark.parametrize(
    ("ahead_s", "expected"),
    [
        (0, Outcome.OK),
        (10, Outcome.WARNING),
        (-10, Outcome.WARNING),
        (32, Outcome.FAILED),
        (-32, Outcome.FAILED),
        (86400, Outcome.FAILED),
    ],
)
async def test_a_clock_that_is_not_like_xs_is_found(settings: Settings, ahead_s: int, expected: Outcome) -> None:
    now = datetime(2026, 5, 1, 12, 0, 0, 400_000, tzinfo=UTC)

    async def tell(_: web.Request) -> web.Response:
        theirs = now - timedelta(seconds=ahead_s)
        return web.Response(status=404, headers={"Date": format_datetime(theirs, usegmt=True)})

    async with serving(web.get("/", tell)) as url:
        there = change(settings, x_api_base_url=url)
        assert await outcome(doctor_x.clock, there, clock=ManualClock(now)) is expected


async def test_nothing_is_asked_of_x_where_the_sandbox_stands_in(settings: Settings) -> None:
    nobody = change(settings, x_consumer_key="", x_api_base_url="http://127.0.0.1:1")
    for check in doctor_x.CHECKS:
        assert await outcome(check.look, nobody) is Outcome.OK


# --- the whole


async def test_a_check_that_breaks_or_hangs_has_failed_alone(settings: Settings) -> None:
    async def breaks(_: Installation) -> Finding:
        raise KeyError("mongodb://user:hidden@host")

    async def hangs(_: Installation) -> Finding:
        await asyncio.Event().wait()
        return ok("never")

    async with installation_of(settings) as installation:
        broken = await Check("breaks", breaks).run(installation)
        hanging = await Check("hangs", hangs, deadline_s=0.05).run(installation)
    assert broken.outcome is hanging.outcome is Outcome.FAILED
    assert "hidden" not in broken.found


@pytest.fixture
def log_settings() -> Iterator[None]:
    """Put logging back as it was: the command sets it up to write to this test's output, which goes away."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.mark.usefixtures("log_settings")
async def test_the_code_is_0_only_when_nothing_has_failed(settings: Settings, database: Database) -> None:
    sandbox = change(settings, x_consumer_key="", port=0)
    stream = StringIO()
    assert await doctor(sandbox, stream) == 0, stream.getvalue()
    lines = stream.getvalue().splitlines()
    assert [line.split("  ")[0].split()[0] for line in lines].count("failed") == 0
    assert len(lines) == len(CHECKS)
    stream = StringIO()
    await connected(database, settings)
    assert await doctor(change(sandbox, encryption_key=SecretStr(OTHER_KEY)), stream) == 1
    assert [line for line in stream.getvalue().splitlines() if line.startswith("failed")]
    for secret in (settings.encryption_key, settings.jwt_secret, settings.mongodb_uri):
        assert secret.get_secret_value() not in stream.getvalue()
    assert OTHER_KEY not in stream.getvalue()


def test_a_plain_line_says_outcome_check_finding_and_what_to_do() -> None:
    stream = StringIO()
    show([("disk", warning("1.0 GiB free", "make room")), ("clock", ok("like X's")), ("X", failed("no", "do"))], stream)
    assert [line.split() for line in stream.getvalue().splitlines()] == [
        ["warning", "disk", "1.0", "GiB", "free", "->", "make", "room"],
        ["ok", "clock", "like", "X's"],
        ["failed", "X", "no", "->", "do"],
    ]
