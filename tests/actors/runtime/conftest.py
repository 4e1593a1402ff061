"""The two systems that one contract holds for: actors in this process, and actors of a real Ray with two hosts."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from pydantic import SecretStr

from actors.runtime.system import ActorSystem, LocalActors
from config.environment import set_here
from config.settings import Settings
from domain.partition import host_of, partition_of
from tests.actors.runtime.probes import Control, MakeProbes, Probe, stage_host

REPOSITORY = Path(__file__).parents[3]
HOSTS = 2


@dataclass
class Running:
    """A system under test; keys are fresh and, by default, of the first host, where its control is too."""

    actors: ActorSystem
    hosts: int
    pid_of: Callable[[int], int] | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def key(self, prefix: str = "key", host: int = 0, kind: str = "probe") -> str:
        return next(
            key
            for key in (f"{prefix}-{next(self.numbers)}-{uuid4().hex[:6]}" for _ in itertools.count())
            if host_of(partition_of(kind, key), self.hosts) == host % self.hosts
        )

    def probe(self, key: str | None = None, *, timeout_s: float | None = None) -> Probe:
        return self.actors.ref(Probe, key or self.key(), timeout_s=timeout_s)

    def control(self) -> Control:
        return self.actors.ref(Control, self.key("control", kind="control"))

    async def activations(self, key: str) -> int:
        return (await self.control().counts(key))["activations"]


@pytest.fixture
async def local_system() -> AsyncIterator[Running]:
    host, _ = stage_host()
    await host.start()
    yield Running(LocalActors(host), hosts=1)
    await host.stop(5)


@pytest.fixture(scope="session")
def ray_namespace() -> Iterator[str]:
    """Start Ray, once; three tries, since a start may be killed by a slow machine."""
    set_here(
        PYTHONPATH=str(REPOSITORY),
        RAY_USAGE_STATS_ENABLED="0",
        RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
        RAY_raylet_start_wait_time_s="180",
        RAY_enable_metrics_collection="0",
        RAY_BACKEND_LOG_LEVEL="fatal",
    )
    import ray

    namespace = f"test-{uuid4().hex[:8]}"
    for attempt in range(3):
        try:
            ray.init(
                num_cpus=1,
                object_store_memory=100 * 1024 * 1024,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                namespace=namespace,
            )
            break
        except Exception:
            ray.shutdown()
            if attempt == 2:
                raise
    yield namespace
    ray.shutdown()


@pytest.fixture(scope="session")
async def ray_system(mongo_uri: str, ray_namespace: str) -> AsyncIterator[Running]:
    from actors.runtime.ray_system import RayActors, ensure_hosts

    settings = Settings(mongodb_uri=SecretStr(mongo_uri), mongodb_database=ray_namespace)
    await asyncio.to_thread(ensure_hosts, MakeProbes(settings), HOSTS)
    actors = RayActors(HOSTS)
    actors.start()
    async with asyncio.timeout(200):
        while not all(actors.up):
            await asyncio.sleep(0.05)
    yield Running(actors, HOSTS)
    await asyncio.gather(*(transport.stop(10) for transport in actors.transports))
    await actors.close()


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def system(request: pytest.FixtureRequest) -> Running:
    running: Running = request.getfixturevalue(f"{request.param}_system")
    return running
