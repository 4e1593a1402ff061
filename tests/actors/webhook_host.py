"""A host that tells webhook endpoints, as a process of its own: to be killed."""

from __future__ import annotations

import asyncio

from actors import host_services
from actors.host_services import Services
from config.settings import load
from gateway.events.outgoing import OutgoingEvents


async def main() -> None:
    host_services._RESUME_S = 0.2
    await Services(load(), 0, 1, OutgoingEvents()).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
