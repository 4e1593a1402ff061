"""The messages of one account whose outcome is not known, and the search for what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, KeysView
from dataclasses import dataclass

import structlog
from prometheus_client import Counter
from pymongo.errors import PyMongoError

from actors.clients.x_client import XClient
from actors.clients.x_transport import XApiError
from actors.settlement import Unsettled, find_sent
from domain.clock import Clock
from domain.message_state import AMBIGUOUS, Failure
from storage.client import Document
from storage.outbox import Outbox

log = structlog.get_logger()

SETTLED = Counter("mktx_sends_settled_total", "Sends in doubt that were settled, by what settled them", ["by"])

_MESSAGES_LOOKED_AT = 50
_SHORTEST_DELAY_S = 0.05


@dataclass(frozen=True, slots=True)
class Sender:
    """The account as X knows it, and how to reach X in its name; no client where it is not connected."""

    merchant_id: str
    twitter_user_id: str
    status: str
    client: XClient | None


class Doubts:
    """Looks for each message in X's own list, at growing intervals, until it is found or the time for it is over.

    `finished` is told of every message that is in doubt no more, with its status.
    """

    def __init__(
        self,
        account_id: str,
        outbox: Outbox,
        clock: Clock,
        timeout_s: float,
        *,
        sender: Callable[[], Awaitable[Sender]],
        finished: Callable[[str, str], None],
    ) -> None:
        self._account_id = account_id
        self._outbox = outbox
        self._clock = clock
        self._timeout_s = timeout_s
        self._sender = sender
        self._finished = finished
        self._unsettled: dict[str, Unsettled] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def __len__(self) -> int:
        """Return how many messages are in doubt."""
        return len(self._unsettled)

    def __contains__(self, message_id: object) -> bool:
        """Return whether a message is in doubt."""
        return message_id in self._unsettled

    def message_ids(self) -> KeysView[str]:
        """Return the ids of the messages in doubt."""
        return self._unsettled.keys()

    def concern(self, conversation_id: str) -> bool:
        """Return whether a message of this conversation is in doubt."""
        return any(unsettled.conversation_id == conversation_id for unsettled in self._unsettled.values())

    def add(self, message: Document) -> None:
        """Begin to look for a message; its claim says since when it may be in X."""
        claim = message.get("claim") or {}
        self._unsettled[message["_id"]] = Unsettled(
            message_id=message["_id"],
            conversation_id=message["conversationId"],
            participant_id=message["twitterUserId"],
            content=message["content"],
            sent_after=claim.get("at") or message["createdAt"],
            doubted_at=self._clock.now(),
        )
        self._look_later()

    def remove(self, message_id: str) -> Unsettled | None:
        """Look for a message no more; returns what was known of it."""
        return self._unsettled.pop(message_id, None)

    def close(self) -> None:
        """Look for nothing more; the documents stay as they are."""
        self._closed = True
        if self._timer:
            self._timer.cancel()
        if self._task:
            self._task.cancel()

    def _look_later(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if not self._unsettled or self._closed or (self._task is not None and not self._task.done()):
            return
        now = self._clock.now()
        moments = [unsettled.next_look(self._timeout_s) for unsettled in self._unsettled.values()]
        delay = min((moment - now).total_seconds() if moment else 0.0 for moment in moments)
        self._timer = asyncio.get_running_loop().call_later(max(_SHORTEST_DELAY_S, delay), self._start_looking)

    def _start_looking(self) -> None:
        self._task = asyncio.create_task(self._look())
        self._task.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("doubts.look_broke", account=self._account_id, exc_info=error)
        self._look_later()

    async def _look(self) -> None:
        now = self._clock.now()
        try:
            for unsettled in list(self._unsettled.values()):
                moment = unsettled.next_look(self._timeout_s)
                if moment is None:
                    await self._give_up(unsettled)
                elif moment <= now:
                    unsettled.looks += 1
                    await self._look_for(unsettled)
        except PyMongoError as error:
            log.warning("doubts.database", error=type(error).__name__)

    async def _look_for(self, unsettled: Unsettled) -> None:
        stored = await self._outbox.get(unsettled.message_id)
        if stored is None or not stored.get("pending"):
            self._finished(unsettled.message_id, str(stored["status"]) if stored else "gone")
            return
        sender = await self._sender()
        if sender.client is None:
            return
        try:
            shown = await sender.client.messages_with(unsettled.participant_id, _MESSAGES_LOOKED_AT)
        except XApiError as error:
            log.info("doubts.list_failed", kind=error.failure.kind.value)
            return
        taken = await self._outbox.attached(self._account_id, [message.id for message in shown])
        found = find_sent(unsettled, shown, sender.twitter_user_id, taken)
        if found is not None:
            at = found.created_at or self._clock.now()
            await self._outbox.confirm(unsettled.message_id, found.id, at, settled_by="lookup")
            SETTLED.labels("lookup").inc()
            self._finished(unsettled.message_id, "sent")

    async def _give_up(self, unsettled: Unsettled) -> None:
        if await self._outbox.fail(unsettled.message_id, Failure(AMBIGUOUS)):
            log.error("send.ambiguous", account=self._account_id, message=unsettled.message_id)
            SETTLED.labels("nothing").inc()
        stored = await self._outbox.get(unsettled.message_id)
        self._finished(unsettled.message_id, str(stored["status"]) if stored else "gone")

    def settled_by_echo(self, message_ids: Iterable[str]) -> None:
        """Take note that the webhook has shown these messages."""
        for message_id in message_ids:
            if message_id in self._unsettled:
                SETTLED.labels("echo").inc()
            self._finished(message_id, "sent")
