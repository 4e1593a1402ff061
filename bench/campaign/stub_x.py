"""As much of X as a campaign needs: takes any message to anybody, at once or after a while, and counts to whom.

It checks no signature and keeps no message, so that it is not what is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from itertools import count

import orjson
import uvloop
from aiohttp import web

from bench.peers.arguments import port_argument

_PLENTY = "1000000"
_WINDOWS = (("x-rate-limit", 900), ("x-user-limit-24hour", 86_400), ("x-app-limit-24hour", 86_400))
#: X's ids have 19 digits.
_FIRST_ID = 1_000_000_000_000_000_000


class StubX:
    """Answers sends after `delay` seconds."""

    def __init__(self) -> None:
        self._ids = count(_FIRST_ID)
        self._under_way = 0
        self._begin(0.0)

    def app(self) -> web.Application:
        """Return the server."""
        app = web.Application()
        app.router.add_post("/2/dm_conversations/with/{person}/messages", self.send)
        app.router.add_post("/bench/begin", self.begin)
        app.router.add_get("/bench/seen", self.seen)
        app.router.add_route("*", "/{path:.*}", self.agree)
        return app

    async def send(self, request: web.Request) -> web.Response:
        """Take a message."""
        await request.read()
        now = time.monotonic()
        self._first = self._first or now
        self._seen[request.match_info["person"]] += 1
        self._under_way += 1
        self._most_under_way = max(self._most_under_way, self._under_way)
        if self._delay:
            await asyncio.sleep(self._delay)
        self._under_way -= 1
        self._last = time.monotonic()
        answer = {"data": {"dm_event_id": str(next(self._ids)), "dm_conversation_id": "1"}}
        return web.Response(body=orjson.dumps(answer), headers=self._headers)

    async def begin(self, request: web.Request) -> web.Response:
        """Forget what was seen, and answer after so many seconds from now on."""
        self._begin(float((await request.json())["delay"]))
        return web.Response()

    async def seen(self, _request: web.Request) -> web.Response:
        """Tell how many calls there were, to how many people, how many had more than one, and the time they took."""
        return web.json_response(
            {
                "calls": self._seen.total(),
                "people": len(self._seen),
                "twice": sum(1 for times in self._seen.values() if times > 1),
                "seconds": self._last - self._first,
                "mostUnderWay": self._most_under_way,
            }
        )

    async def agree(self, _request: web.Request) -> web.Response:
        """Agree to everything else."""
        return web.json_response({"data": {"id": "1", "valid": True, "subscribed": True}})

    def _begin(self, delay: float) -> None:
        self._delay = delay
        self._seen: Counter[str] = Counter()
        self._first = self._last = 0.0
        self._most_under_way = 0
        self._headers = {"content-type": "application/json"}
        for name, length in _WINDOWS:
            self._headers[f"{name}-limit"] = self._headers[f"{name}-remaining"] = _PLENTY
            self._headers[f"{name}-reset"] = str(int(time.time()) + length)


def main() -> None:
    """Serve until SIGTERM."""
    port = port_argument()
    web.run_app(StubX().app(), host="127.0.0.1", port=port, access_log=None, print=None, loop=uvloop.new_event_loop())


if __name__ == "__main__":
    main()
