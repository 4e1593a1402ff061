from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from actors.send_queue import Queued, SendQueue

START = datetime(2026, 11, 2, 10, tzinfo=UTC)


def queued(number: int, conversation: str = "c", priority: int = 0, seconds: int | None = None) -> Queued:
    age = number if seconds is None else seconds
    return Queued(priority, START + timedelta(seconds=age), f"m{number:04}", conversation)


def drained(queue: SendQueue, *, release: bool = True) -> list[str]:
    taken = []
    while queue.peek() is not None:
        message = queue.take()
        taken.append(message.message_id)
        if release:
            queue.release(message.conversation_id)
    return taken


def test_the_most_urgent_goes_first_then_the_oldest() -> None:
    queue = SendQueue()
    for message in (queued(1, priority=3), queued(5, priority=0), queued(4, priority=0), queued(2, priority=3)):
        queue.add(message)
    assert drained(queue) == ["m0004", "m0005", "m0001", "m0002"]


def test_one_message_a_conversation_is_handed_out_until_it_is_released() -> None:
    queue = SendQueue()
    for number in range(4):
        queue.add(queued(number, conversation=f"c{number % 2}"))
    assert drained(queue, release=False) == ["m0000", "m0001"]
    assert len(queue) == 2
    queue.release("c1")
    assert drained(queue) == ["m0003"]
    queue.release("c0")
    assert drained(queue) == ["m0002"]
    assert len(queue) == 0


def test_a_message_that_comes_late_to_a_held_conversation_keeps_its_place() -> None:
    queue = SendQueue()
    queue.hold("c")
    queue.add(queued(2))
    assert queue.peek() is None
    queue.add(queued(1))
    assert queue.peek() is None
    queue.release("c")
    assert drained(queue) == ["m0001", "m0002"]


def test_what_waits_already_is_left_where_it_is() -> None:
    queue = SendQueue()
    queue.add(queued(1))
    queue.add(queued(1))
    assert "m0001" in queue
    assert queue.message_ids() == {"m0001"}
    assert drained(queue) == ["m0001"]
    assert "m0001" not in queue


def test_releasing_what_is_not_held_changes_nothing() -> None:
    queue = SendQueue()
    queue.release("c")
    queue.add(queued(1))
    queue.release("c")
    assert drained(queue) == ["m0001"]


class QueueMachine(RuleBasedStateMachine):
    """Compares the queue with a plain list that is sorted whenever it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = SendQueue()
        self.waiting: list[Queued] = []
        self.held: set[str] = set()
        self.number = 0

    @rule(conversation=st.sampled_from("abc"), priority=st.integers(0, 3), seconds=st.integers(0, 5))
    def add(self, conversation: str, priority: int, seconds: int) -> None:
        self.number += 1
        message = queued(self.number, conversation, priority, seconds)
        self.queue.add(message)
        self.waiting.append(message)

    @rule(conversation=st.sampled_from("abc"))
    def hold(self, conversation: str) -> None:
        self.queue.hold(conversation)
        self.held.add(conversation)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        conversation = data.draw(st.sampled_from(sorted(self.held)))
        self.queue.release(conversation)
        self.held.remove(conversation)

    @rule()
    def take(self) -> None:
        free = sorted(message for message in self.waiting if message.conversation_id not in self.held)
        shown = self.queue.peek()
        assert shown == (free[0] if free else None)
        if shown is not None:
            assert self.queue.take() == shown
            self.waiting.remove(shown)
            self.held.add(shown.conversation_id)

    @invariant()
    def it_knows_what_waits(self) -> None:
        assert len(self.queue) == len(self.waiting)
        assert self.queue.message_ids() == {message.message_id for message in self.waiting}


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=60, deadline=None)
