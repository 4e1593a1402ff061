"""A Restate virtual object, keyed by customer, that takes one event at a time and does nothing with it."""

from __future__ import annotations

import restate
import uvloop
from hypercorn.asyncio import serve
from hypercorn.config import Config
from restate.serde import BytesSerde

from bench.peers.arguments import port_argument

OBJECT = "Customer"
HANDLER = "receive"

customer = restate.VirtualObject(OBJECT)


@customer.handler(HANDLER, input_serde=BytesSerde(), output_serde=BytesSerde())
async def receive(_context: restate.ObjectContext, event: bytes) -> bytes:
    """Take one event; the cheapest thing that a handler can do, so that the ingress is what is measured."""
    return event[:0]


def main() -> None:
    """Serve HTTP/2 on loopback until SIGTERM."""
    config = Config()
    config.bind = [f"127.0.0.1:{port_argument()}"]
    config.accesslog = None
    config.h2_max_concurrent_streams = 2**16
    uvloop.run(serve(restate.app([customer]), config))


if __name__ == "__main__":
    main()
