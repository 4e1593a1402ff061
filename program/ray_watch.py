"""Waits for the processes of a Ray node, and ends all of them when one has ended, or when it is told to stop.

A process as small as Python makes one: it loads nothing of ours and nothing of Ray. `ray_command` becomes it once Ray
runs, so that these are its children. Arguments: the node's folder, and `name=pid` of each in the order of a stop.
"""

from __future__ import annotations

import os
import signal
import sys

_GRACE_S = 3


class _TooLate(Exception):
    """A process has not ended in time."""


def _watch(names: dict[int, str]) -> int:
    def stop(*_: object) -> None:
        # A second signal, as from an impatient parent, changes nothing.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    try:
        pid = status = 0
        while pid not in names:
            pid, status = os.wait()
    except KeyboardInterrupt:
        _end(list(names))
        return 0
    sys.stderr.write(f"{names.pop(pid)} ended with code {os.waitstatus_to_exitcode(status)}\n")
    _end(list(names))
    return 1


def _end(pids: list[int]) -> None:
    """End processes one after the other: each is asked first, and killed when it has not ended in time."""

    def too_late(*_: object) -> None:
        raise _TooLate

    signal.signal(signal.SIGALRM, too_late)
    for pid in pids:
        try:
            os.kill(pid, signal.SIGTERM)
            signal.alarm(_GRACE_S)
            os.waitpid(pid, 0)
        except _TooLate:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            continue
        finally:
            signal.alarm(0)


if __name__ == "__main__":
    sys.exit(_watch({int(pid): name for name, _, pid in (each.partition("=") for each in sys.argv[2:])}))
