"""The messages of one account whose outcome is not known, and the search for what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, KeysView, Sequence
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter
from pymongo.errors import PyMongoError

from actors.account_identity import Sender
from actors.clients.x_client import LISTED_AT_ONCE, XClient
from actors.clients.x_transport import XApiError
from actors.settlement import Unsettled, covers, find_sent, of_conversation
from domain.clock import Alarm, Waker
from domain.message_state import AMBIGUOUS, Failure
from domain.x_errors import FailureKind
from storage.client import Document
from storage.outbox import Outbox

log = structlog.get_logger()

SETTLED = Counter("mktx_sends_settled_total", "Sends in doubt that were settled, by what settled them", ["by"])
# There from the start: what first appears with a 1 is no increase to Prometheus.
_BY_NOTHING = SETTLED.labels("nothing")

_MESSAGES_LOOKED_AT = 50
#: Looks for which the list of all conversations will do; it is said to miss messages (x-api, 3.1), so then their own.
_LOOKS_AT_ALL = 4
_AFTER_A_BREAK = timedelta(seconds=5)
_SHORTEST_DELAY = timedelta(milliseconds=50)


class Doubts:
    """Looks for each message in X's own list, at growing intervals, until it is found or the time for it is over.

    `finished` is told of every message that is in doubt no more, with its status.
    """

    def __init__(
        self,
        account_id: str,
        outbox: Outbox,
        clock: Waker,
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
        self._timer: Alarm | None = None
        self._task: asyncio.Task[None] | None = None
        self._not_before: datetime | None = None
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
        look_at = min(unsettled.next_look(self._timeout_s) or now for unsettled in self._unsettled.values())
        if self._not_before is not None:
            look_at = max(look_at, self._not_before)
        self._timer = self._clock.call_at(max(look_at, now + _SHORTEST_DELAY), self._start_looking)

    def _start_looking(self) -> None:
        self._task = asyncio.create_task(self._look())
        self._task.add_done_callback(self._looked)

    def _looked(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("doubts.look_broke", account=self._account_id, exc_info=error)
            # What broke would break again: not at once, over and over.
            self._not_before = self._clock.now() + _AFTER_A_BREAK
        self._look_later()

    async def _look(self) -> None:
        now = self._clock.now()
        try:
            due: list[Unsettled] = []
            for unsettled in list(self._unsettled.values()):
                moment = unsettled.next_look(self._timeout_s)
                if moment is None:
                    await self._give_up(unsettled)
                elif moment <= now and not await self._is_settled(unsettled):
                    due.append(unsettled)
            sender = await self._sender() if due else None
            if sender is not None and sender.client is not None:
                await self._look_for_all(due, sender, sender.client)
            for unsettled in due:
                unsettled.looks += 1
        except XApiError as error:
            self._asked_in_vain(error)
        except PyMongoError as error:
            log.warning("doubts.database", error=type(error).__name__)

    def _asked_in_vain(self, error: XApiError) -> None:
        """X did not show its list. Where it has been asked too often, the looks are put off and not used up."""
        failure = error.failure
        log.info("doubts.list_failed", kind=failure.kind.value)
        if failure.kind is FailureKind.RATE_LIMIT:
            now = self._clock.now()
            self._not_before = failure.reset_at or now + timedelta(seconds=failure.retry_after_s or 60)
            return
        for unsettled in self._unsettled.values():
            moment = unsettled.next_look(self._timeout_s)
            if moment is not None and moment <= self._clock.now():
                unsettled.looks += 1

    async def _is_settled(self, unsettled: Unsettled) -> bool:
        stored = await self._outbox.get(unsettled.message_id)
        if stored is None or not stored.get("pending"):
            self._finished(unsettled.message_id, str(stored["status"]) if stored else "gone")
            return True
        return False

    async def _look_for_all(self, due: Sequence[Unsettled], sender: Sender, client: XClient) -> None:
        """Look for messages with as few calls as may be: X allows 15 in a quarter of an hour."""
        everything = await client.newest_messages() if len(due) > 1 else None
        for unsettled in due:
            listed = everything if unsettled.looks < _LOOKS_AT_ALL else None
            if listed is not None and covers(listed, LISTED_AT_ONCE, unsettled):
                shown = of_conversation(listed, sender.twitter_user_id, unsettled.participant_id)
            else:
                shown = await client.messages_with(unsettled.participant_id, _MESSAGES_LOOKED_AT)
            taken = await self._outbox.attached(self._account_id, [message.id for message in shown])
            found = find_sent(unsettled, shown, sender.twitter_user_id, taken)
            if found is not None:
                at = found.created_at or self._clock.now()
                await self._outbox.confirm(unsettled.message_id, found.id, at, settled_by="lookup")
                SETTLED.labels("lookup").inc()
                self._finished(unsettled.message_id, "sent")

    async def _give_up(self, unsettled: Unsettled) -> None:
        if await self._outbox.fail(unsettled.message_id, Failure(AMBIGUOUS), self._clock.now()):
            log.error("send.ambiguous", account=self._account_id, message=unsettled.message_id)
            _BY_NOTHING.inc()
        stored = await self._outbox.get(unsettled.message_id)
        self._finished(unsettled.message_id, str(stored["status"]) if stored else "gone")

    def settled_by_echo(self, message_ids: Iterable[str]) -> None:
        """Take note that the webhook has shown these messages."""
        for message_id in message_ids:
            if message_id in self._unsettled:
                SETTLED.labels("echo").inc()
            self._finished(message_id, "sent")
