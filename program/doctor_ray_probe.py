"""Joins the Ray cluster of the settings and says what is there, as one line of JSON.

A process of its own, because joining a cluster that is half there can't be called off.
"""

from __future__ import annotations

import sys

import orjson

from config.environment import set_here
from config.settings import load


def probe() -> dict[str, object]:
    """Join; returns how many nodes and processors there are, or the name of the error."""
    set_here(RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0", RAY_BACKEND_LOG_LEVEL="fatal")
    import ray  # noqa: PLC0415  # reads the variables above when it is imported

    from actors.runtime.ray_system import connect  # noqa: PLC0415  # likewise

    try:
        connect(load().ray_address, namespace="mktx-doctor")
        nodes = sum(bool(node["Alive"]) for node in ray.nodes())
        return {"nodes": nodes, "cpus": ray.cluster_resources().get("CPU", 0.0)}
    except Exception as error:  # noqa: BLE001  # Ray tells in many ways that it can't be joined; the name is the answer
        return {"error": type(error).__name__}


if __name__ == "__main__":
    sys.stdout.write(orjson.dumps(probe()).decode() + "\n")
