"""A real Prometheus scrapes the real program: every target is up, and every question that is asked of it has an answer.

The questions are those of the dashboards and of the rules. Each kind of traffic that they are about is made first.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from storage.embedded import die_with_parent, free_port
from tests.program.running_program import PATIENCE_S, Api, Program, SimulatedX
from tests.program.test_campaign_under_fire import Campaign
from tests.program.under_fire import ROOM_LEFT, SEND_PATH, called
from tests.prometheus_tools import CONFIG, panel_queries, tool

SHOP = "1000"
CALLS_PER_MINUTE = 1500
#: What Grafana puts there by the time that is looked at: all of the run.
WINDOW = "3m"


class Prometheus(Api):
    """Prometheus with the repository's configuration, faster, and pointed to the program under test."""

    def __init__(self, session: aiohttp.ClientSession, folder: Path, program: Program) -> None:
        self.port = free_port()
        super().__init__(session, f"http://127.0.0.1:{self.port}")
        self._folder = folder / "prometheus"
        self._program = program
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        config = yaml.safe_load((CONFIG / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(CONFIG / each) for each in config["rule_files"]]
        ports = {"mktx": self._program.port, "prometheus": self.port}
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [f"127.0.0.1:{ports[job['job_name']]}"]}]
        self._folder.mkdir()
        file = self._folder / "prometheus.yml"
        file.write_text(yaml.safe_dump(config))
        with (self._folder / "log").open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                tool("prometheus"),
                f"--config.file={file}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent(),
            )
        async with asyncio.timeout(PATIENCE_S):
            while not all(health == "up" for health in (await self.targets()).values() or ["none"]):
                assert self._process.returncode is None, (self._folder / "log").read_text()
                await asyncio.sleep(0.2)

    async def targets(self) -> dict[str, str]:
        """Return the health of each target by its job."""
        try:
            _, answer = await self.call("GET", "/api/v1/targets")
        except aiohttp.ClientError:
            return {}
        return {each["labels"]["job"]: each["health"] for each in answer["data"]["activeTargets"]}

    async def values(self, expression: str) -> list[float]:
        """Return the numbers that a question is answered with; what is no number is no answer."""
        status, answer = await self.call("GET", f"/api/v1/query?query={quote(expression)}")
        assert status == 200, (expression, answer)
        numbers = (float(each["value"][1]) for each in answer["data"]["result"])
        return [number for number in numbers if not math.isnan(number)]

    async def rules(self) -> list[dict[str, Any]]:
        _, answer = await self.call("GET", "/api/v1/rules")
        return [rule for group in answer["data"]["groups"] for rule in group["rules"]]

    async def stop(self) -> None:
        if self._process and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()


@pytest.fixture
async def program(session: aiohttp.ClientSession, tmp_path: Path, x: SimulatedX) -> AsyncIterator[Program]:
    tool("prometheus")  # before anything is started
    settings = {
        "MKTX_API_CALLS_PER_MINUTE": str(CALLS_PER_MINUTE),
        "MKTX_OPENAI_BASE_URL": f"{x.base_url}/v1",
        "MKTX_OPENAI_API_KEY": "sandbox-model-key",
        "MKTX_X_MESSAGES_PER_DAY": "100000",
        # A merchant's server is on this machine.
        "MKTX_FETCH_PRIVATE_ADDRESSES": "true",
    }
    program = Program(session, tmp_path, x, **settings)
    await program.start()
    await program.until_ready()
    await program.login()
    yield program
    await program.stop()
    await program.until_nothing_is_left()


@pytest.fixture
async def prometheus(session: aiohttp.ClientSession, tmp_path: Path, program: Program) -> AsyncIterator[Prometheus]:
    prometheus = Prometheus(session, tmp_path, program)
    await prometheus.start()
    yield prometheus
    await prometheus.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[str]:
    """Return the address of a merchant's server that takes every webhook."""

    async def take(_request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_post("/hooks", take)
    server = TestServer(app)
    await server.start_server()
    yield str(server.make_url("/hooks"))
    await server.close()


async def counted(program: Program, sample: str) -> float:
    """Return the sum of the program's samples that begin so."""
    async with program._session.get(f"{program.base_url}/metrics") as response:
        lines = (await response.text()).splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(sample))


async def until_counted(program: Program, sample: str, least: float = 1) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await counted(program, sample) < least:
            await asyncio.sleep(0.2)


async def customers_write_and_the_chatbot_answers(program: Program, x: SimulatedX) -> None:
    await called(program, "PUT", "/ai/settings", {"enabled": True, "answerDelaySeconds": 0})
    await x.order("load", {"count": 40, "rate": 10, "customers": 6, "accounts": [SHOP]})
    await until_counted(program, 'mktx_webhook_requests_total{outcome="accepted"}')
    await until_counted(program, 'mktx_bot_turns_total{outcome="answered"}')
    await until_counted(program, 'mktx_sends_total{kind="bot",outcome="sent"}')


async def the_model_is_asked_between_two_looks(program: Program, prometheus: Prometheus) -> None:
    """A rate is of what has risen since Prometheus first saw it: what was all there by then has none."""
    asked = 'sum(mktx_ai_requests_total{outcome="ok"})'
    async with asyncio.timeout(PATIENCE_S):
        while not await prometheus.values(asked):
            await asyncio.sleep(0.2)
    _, conversations = await program.api("GET", "/conversations?take=1")
    path = f"/ai/conversations/{conversations['data'][0]['id']}/message"
    await called(program, "POST", path, {"message": "Hello!"})


async def people_answer(program: Program, x: SimulatedX) -> list[str]:
    """Answer each conversation, one once X has refused for a moment; returns whom they are with."""
    async with asyncio.timeout(PATIENCE_S):
        conversations: list[dict[str, Any]] = []
        while len(conversations) < 3:
            _, answer = await program.api("GET", "/conversations?take=50")
            conversations = answer["data"]
            await asyncio.sleep(0.2)
    for number, conversation in enumerate(conversations):
        text = {"content": f"Hello {number}", "type": "text"}
        await called(program, "POST", f"/conversations/{conversation['id']}/messages?wait=false", text)
    await until_counted(program, 'mktx_sends_total{kind="agent",outcome="sent"}', len(conversations))
    await x_refuses_a_person_for_a_moment(program, x, conversations[0]["id"])
    return [str(conversation["contactId"]) for conversation in conversations]


async def x_refuses_a_person_for_a_moment(program: Program, x: SimulatedX, conversation_id: str) -> None:
    """Have X's refusal meet a person's message: one that the chatbot sends meanwhile may get it instead."""
    fault = {"kind": "error", "error": "TooManyRequests", "seconds": 1, "headers": ROOM_LEFT, "count": 1}
    async with asyncio.timeout(PATIENCE_S):
        while not await counted(program, 'mktx_sends_total{kind="agent",outcome="again"}'):
            await x.order("faults", {**fault, "match": SEND_PATH})
            text = {"content": "And one more thing", "type": "text"}
            await called(program, "POST", f"/conversations/{conversation_id}/messages", text)


async def a_flow_runs(program: Program, contacts: list[str]) -> None:
    nodes = [
        {"id": "wait", "type": "wait", "config": {"duration": 1}},
        {"id": "tag", "type": "add_tag", "config": {"tag": "greeted"}},
    ]
    flow = {
        "name": "Greeting",
        "trigger": {"type": "manual", "config": {}},
        "nodes": nodes,
        "connections": [{"fromNodeId": "wait", "toNodeId": "tag"}],
    }
    made = await called(program, "POST", "/automation/flows", flow)
    await called(program, "POST", f"/automation/flows/{made['id']}/activate")
    for contact in contacts:
        await called(program, "POST", f"/automation/flows/{made['id']}/trigger", {"contactId": contact})
    await until_counted(program, 'mktx_flow_executions_total{outcome="completed"}', len(contacts))
    await until_counted(program, "mktx_flow_lateness_seconds_count")


async def somebody_calls_too_often(program: Program) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while (await program.api("GET", "/accounts"))[0] != 429:
            continue


def questions(recorded: list[str]) -> list[str]:
    asked = [query.expression.replace("$__rate_interval", WINDOW) for query in panel_queries()]
    assert len(asked) > 40
    assert len(recorded) > 10
    return [*recorded, *asked]


@pytest.mark.program
async def test_every_target_is_up_and_every_question_is_answered(
    program: Program, x: SimulatedX, prometheus: Prometheus, receiver: str
) -> None:
    wanted = {"url": receiver, "events": ["message.created", "message.updated"]}
    await called(program, "POST", "/webhook-endpoints", wanted)
    campaign = Campaign(program, x)
    await campaign.prepare(1, 3)
    assert campaign.shops == [SHOP]
    await customers_write_and_the_chatbot_answers(program, x)
    contacts = await people_answer(program, x)
    await a_flow_runs(program, contacts)
    await campaign.start()
    await campaign.until_over()
    await until_counted(program, "mktx_account_limit_remaining_count", 20)
    await until_counted(program, 'mktx_outgoing_webhooks_total{outcome="delivered"}')
    await until_counted(program, "mktx_outgoing_webhooks_measured_timestamp_seconds")
    await the_model_is_asked_between_two_looks(program, prometheus)
    await somebody_calls_too_often(program)

    rules = await prometheus.rules()
    open_questions = questions([rule["name"] for rule in rules if rule["type"] == "recording"])
    for _ in range(60):
        open_questions = [each for each in open_questions if not await prometheus.values(each)]
        if not open_questions:
            break
        await asyncio.sleep(1)
    assert open_questions == []
    assert await prometheus.targets() == {"mktx": "up", "prometheus": "up"}
    rules = await prometheus.rules()
    assert {rule["health"] for rule in rules} == {"ok"}
    firing = {rule["name"] for rule in rules if rule["type"] == "alerting" and rule["state"] == "firing"}
    assert firing == set()


@pytest.mark.program
async def test_a_host_that_is_started_again_is_counted_and_its_gauges_are_its_own(
    program: Program, prometheus: Prometheus
) -> None:
    hosts = len(program.pids("host"))
    await until_counted(program, "mktx_host_starts_total", hosts)
    gauges = program.data_dir / "metrics"
    killed = min(program.pids("host"))
    assert (gauges / f"gauge_livesum_{killed}.db").exists()
    program.kill("host")
    await until_counted(program, "mktx_host_starts_total", hosts + 1)
    async with asyncio.timeout(PATIENCE_S):
        while (gauges / f"gauge_livesum_{killed}.db").exists():
            await asyncio.sleep(0.2)
    async with asyncio.timeout(PATIENCE_S):
        while not any(each > 0.5 for each in await prometheus.values("sum(increase(mktx_host_starts_total[2m]))")):
            await asyncio.sleep(0.5)
    async with asyncio.timeout(PATIENCE_S):
        while not any(
            rule["name"] == "MktxHostRestarts" and rule["state"] == "firing" for rule in await prometheus.rules()
        ):
            await asyncio.sleep(0.5)
