from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from actors.clients.circuit_breaker import CircuitBreakers, CircuitOpen
from domain.clock import ManualClock

START = datetime(2026, 1, 1, tzinfo=UTC)


class Down(Exception):
    pass


class Stage:
    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.opened: list[str] = []
        self.circuits = CircuitBreakers(
            self.clock,
            self.opened.append,
            failures=3,
            open_for=timedelta(seconds=10),
            longest=timedelta(seconds=60),
        )

    def call(self, error: BaseException | None = None, key: str = "a") -> None:
        with self.circuits.guarding(key, lambda raised: isinstance(raised, Down)):
            if error is not None:
                raise error

    def fail(self, times: int = 1, key: str = "a") -> None:
        for _ in range(times):
            with pytest.raises(Down):
                self.call(Down(), key)

    def pass_by(self, seconds: float) -> None:
        self.clock.set(self.clock.now() + timedelta(seconds=seconds))

    def refused(self, key: str = "a") -> int:
        with pytest.raises(CircuitOpen) as caught:
            self.call(key=key)
        return caught.value.retry_after_s


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_failures_in_a_row_open_the_circuit_of_their_key_alone(stage: Stage) -> None:
    stage.fail(2)
    stage.call()
    stage.fail(2)
    assert stage.opened == []
    stage.fail()
    assert stage.opened == ["a"]
    assert stage.circuits.is_open("a")
    assert stage.refused() == 10
    stage.call(key="b")


def test_after_a_while_one_call_is_let_through_and_closes_it(stage: Stage) -> None:
    stage.fail(3)
    stage.pass_by(9.5)
    assert stage.refused() == 1
    stage.pass_by(0.5)
    stage.call()
    stage.fail(2)
    stage.call()
    assert stage.opened == ["a"]


def test_while_one_call_tries_no_other_does(stage: Stage) -> None:
    stage.fail(3)
    stage.pass_by(10)
    with stage.circuits.guarding("a", lambda _: False):
        assert stage.refused() == 1
    stage.call()


def test_a_try_that_fails_opens_it_for_twice_as_long_up_to_a_bound(stage: Stage) -> None:
    stage.fail(3)
    for seconds in (10, 20, 40, 60, 60):
        assert stage.refused() == seconds
        stage.pass_by(seconds)
        stage.fail()
    assert len(stage.opened) == 6


def test_what_says_nothing_of_the_server_neither_opens_nor_closes(stage: Stage) -> None:
    stage.fail(2)
    for error in (ValueError(), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            stage.call(error)
    stage.fail()
    assert stage.opened == ["a"]


def test_a_try_that_was_cancelled_lets_another_one_through(stage: Stage) -> None:
    stage.fail(3)
    stage.pass_by(10)
    with pytest.raises(asyncio.CancelledError):
        stage.call(asyncio.CancelledError())
    stage.call()


def test_failures_of_calls_that_began_before_it_opened_do_not_prolong_it(stage: Stage) -> None:
    stage.fail(2)
    slow = stage.circuits.guarding("a", lambda raised: isinstance(raised, Down))
    slow.__enter__()
    stage.fail()
    assert not slow.__exit__(Down, Down(), None)
    assert stage.refused() == 10
    assert stage.opened == ["a"]


def test_what_works_is_not_remembered(stage: Stage) -> None:
    stage.call()
    with pytest.raises(KeyError):
        stage.call(KeyError())
    assert stage.circuits._circuits == {}
