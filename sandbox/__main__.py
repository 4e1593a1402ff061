"""Start the simulated X and the simulated model server as a process: `python -m sandbox --port 0`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog
import uvloop

from sandbox.model.model import SANDBOX_MODEL_KEY, Model
from sandbox.server import running
from sandbox.world import World


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="sandbox", description="A simulated X and a simulated model server on loopback."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 picks a free one")
    parser.add_argument("--customers", type=int, default=8, help="simulated customers")
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second that all customers write together")
    parser.add_argument("--answers", type=float, default=0.3, help="share of a shop's messages that are answered")
    parser.add_argument("--journal", type=Path, default=None, help="file that outlives a restart")
    parser.add_argument("--account-id", default="100", help="X user id of the shop account")
    parser.add_argument("--consumer-key", default="sandbox-consumer-key", help="API key of the X app")
    parser.add_argument("--consumer-secret", default="sandbox-consumer-secret", help="API key secret of the X app")
    parser.add_argument("--bearer-token", default="sandbox-bearer-token", help="bearer token of the X app")
    parser.add_argument("--model-key", default=SANDBOX_MODEL_KEY, help="API key of the model server")
    parser.add_argument("--time-scale", type=float, default=1.0, help="factor on the schedule of repeated deliveries")
    parser.add_argument("--seed", type=int, default=1, help="what all chance is drawn from")
    return parser.parse_args(argv)


async def serve(options: argparse.Namespace) -> None:
    """Run until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    world = World(
        consumer_key=options.consumer_key,
        consumer_secret=options.consumer_secret,
        bearer_token=options.bearer_token,
        account_id=options.account_id,
        customers=options.customers,
        rate=options.rate,
        answers=options.answers,
        seed=options.seed,
        time_scale=options.time_scale,
        journal=options.journal,
    )
    model = Model(key=options.model_key, seed=options.seed)
    async with running(world, options.host, options.port, model=model) as base_url:
        sys.stdout.write(f"sandbox listening on {base_url}\n")
        sys.stdout.flush()
        await stopped.wait()


if __name__ == "__main__":
    # stdout holds the one line that says where; logs go to stderr
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    uvloop.run(serve(arguments()))
