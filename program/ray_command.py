"""Ray's own command line, as small as a node can be had; run as `python -m program.ray_command start --head --block …`.

- Without the API server, which serves nothing but Ray's dashboard and its job API: Ray starts it also where the
  dashboard is off, and everything else waits until it is up. It costs 60 MB and the better part of a second.
- Once the node runs, the command's own process does nothing but look after Ray's processes. It becomes one that does
  that in a tenth of the memory.

Both replace methods that are Ray's own business. Where another version has them under other names, Ray starts as it
always does, and nothing else changes.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from ray._private.node import Node
from ray.scripts.scripts import main

_WATCH = Path(__file__).with_name("ray_watch.py")
#: Which process is stopped first: the one that would report the others as lost.
_FIRST = "raylet"
_ABOVE_STANDARD = 3


def _no_api_server(node: Node, **_wanted: object) -> None:
    node._webui_url = None  # noqa: SLF001  # as Ray's method leaves it where there is no server


def _become_watch(node: Node) -> None:
    """Look after the node's processes as another program; called when Ray first looks whether all of them live."""
    running = [(name, info.process.pid) for name, infos in node.all_processes.items() for info in infos]
    running.sort(key=lambda each: each[0] != _FIRST)
    folder: str = node.get_session_dir_path()  # type: ignore[no-untyped-call]
    arguments = [folder, *(f"{name}={pid}" for name, pid in running)]
    # Closed by the change itself: threads of Ray's still use them until then.
    for each in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):
            os.set_inheritable(int(each.name), int(each.name) < _ABOVE_STANDARD)
    os.execv(sys.executable, [sys.executable, "-I", "-S", str(_WATCH), *arguments])  # noqa: S606  # all of it is ours


if __name__ == "__main__":
    setattr(Node, Node.start_api_server.__name__, _no_api_server)
    setattr(Node, Node.dead_processes.__name__, _become_watch)
    main()  # type: ignore[no-untyped-call]
