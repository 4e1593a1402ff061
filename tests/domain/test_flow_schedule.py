from __future__ import annotations

from datetime import UTC, datetime, timedelta

from domain.flow_schedule import next_time
from domain.flow_triggers import OnSchedule

START = datetime(2026, 3, 28, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_a_time_without_a_rule_comes_once() -> None:
    once = OnSchedule("s", START)
    assert next_time(once, START - SECOND) == START
    assert next_time(once, START) is None


def test_a_rule_is_counted_in_wall_clock_time() -> None:
    daily = OnSchedule("s", START, "FREQ=DAILY;COUNT=3", "Europe/Berlin")
    # Clocks are put forward on the 29th.
    second = START + timedelta(days=1) - timedelta(hours=1)
    assert next_time(daily, START - SECOND) == START
    assert next_time(daily, START) == second
    assert next_time(daily, second) == second + timedelta(days=1)
    assert next_time(daily, second + timedelta(days=1)) is None
