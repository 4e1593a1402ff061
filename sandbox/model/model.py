"""The simulated model server's state: its key, the ordered faults, and what it was asked."""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from sandbox.body import JsonObject
from sandbox.clock import Clock, SystemClock
from sandbox.model.faults import ModelFault, ModelFaults
from sandbox.model.request import ChatRequest

#: The key that is accepted where no other is given; it protects nothing.
SANDBOX_MODEL_KEY: Final = "sandbox-model-key"
#: Requests that are remembered, the newest.
_REMEMBERED = 1000


@dataclass(slots=True)
class Asked:
    """One completion that was asked for, as tests look at it; `status` 0 means that the connection was closed."""

    number: int
    body: JsonObject
    fault: str
    status: int = 200
    finish_reason: str = ""
    tokens: int = 0

    def raw(self) -> JsonObject:
        """Return the request as the control API shows it."""
        return {
            "number": self.number,
            "body": self.body,
            "fault": self.fault,
            "status": self.status,
            "finishReason": self.finish_reason,
            "tokens": self.tokens,
        }


class Model:
    """One simulated model server; the same requests in the same order are answered the same."""

    def __init__(self, *, key: str = SANDBOX_MODEL_KEY, seed: int = 1, clock: Clock | None = None) -> None:
        self.key = key
        self.clock = clock or SystemClock()
        self.faults = ModelFaults(random.Random(f"{seed}/model"))  # noqa: S311 - chance, no secret
        self.asked: deque[Asked] = deque(maxlen=_REMEMBERED)
        self.total = 0
        #: Requests that were answered with an error, by status.
        self.refused: Counter[int] = Counter()
        self._requests = 0
        self._completions = 0

    def record(self, request: ChatRequest, fault: ModelFault | None) -> Asked:
        """Remember a request that could be read, before it is answered."""
        self.total += 1
        asked = Asked(self.total, request.raw, str(fault.kind) if fault else "")
        self.asked.append(asked)
        return asked

    def forget(self) -> None:
        """Begin to count anew."""
        self.asked.clear()
        self.refused.clear()
        self.total = 0

    def next_request(self) -> str:
        """Return the id of a request."""
        self._requests += 1
        return f"req_{self._requests:012d}"

    def next_completion(self) -> str:
        """Return the id of a completion."""
        self._completions += 1
        return f"sandbox{self._completions:012d}"


MODEL = web.AppKey("model", Model)
