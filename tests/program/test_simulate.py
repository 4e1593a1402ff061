from __future__ import annotations

import asyncio
import os
import pty
import re
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from config.environment import ROOT, child_environment
from config.settings import Settings, WrongSetting
from domain.events import EventKind, XEvent
from program.simulation_books import (
    AnswerBooks,
    CustomerBooks,
    Stored,
    answer_books,
    balance,
    customer_books,
    percentile,
    read_inbox,
)
from program.simulation_display import Display, Progress
from program.simulation_order import Order, account_ids, check_folder, simulation_settings
from program.simulation_sandbox import Delivery, SentByShop
from storage.client import Client, Database
from storage.embedded import die_with_parent
from storage.inbox import Inbox
from tests.program.running_program import PATIENCE_S, processes_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NO_ANSWERS = AnswerBooks(0, 0, 0)


def stored(message_id: str, *, inbound: bool = True, content: str = "", status: str = "received") -> Stored:
    return Stored(message_id, inbound, status, content, NOW, NOW + timedelta(milliseconds=10))


def books(deliveries: list[Delivery], messages: list[Stored], **more: set[str]) -> CustomerBooks:
    sent = len({delivery.message_id for delivery in deliveries})
    return customer_books(sent, deliveries, messages, more.get("inbox", set()), more.get("shops", set()))


@given(
    st.dictionaries(
        st.integers(1, 10**6).map(str),
        st.tuples(st.sampled_from(["acknowledged", "lost", "pending"]), st.sampled_from(["stored", "waiting", "gone"])),
        max_size=40,
    )
)
def test_every_message_is_counted_once_on_either_side(fates: dict[str, tuple[str, str]]) -> None:
    found = books(
        [Delivery(message_id, outcome, 1) for message_id, (outcome, _) in fates.items()],
        [stored(message_id) for message_id, (_, place) in fates.items() if place == "stored"],
        inbox={message_id for message_id, (_, place) in fates.items() if place == "waiting"},
    )
    assert found.sent == found.delivered + found.lost + found.under_way
    acknowledged = [place for outcome, place in fates.values() if outcome == "acknowledged"]
    assert found.missing == acknowledged.count("gone")
    assert found.waiting == acknowledged.count("waiting")
    assert found.delivered == found.missing + found.waiting + acknowledged.count("stored")
    assert balance(found, NO_ANSWERS) == (found.missing == 0 and found.lost == 0)


def test_a_message_that_was_delivered_twice_and_stored_once_is_repeated_but_not_doubled() -> None:
    found = books([Delivery("1", "acknowledged", 3), Delivery("1", "lost", 2)], [stored("1")])
    assert (found.delivered, found.repeated, found.lost, found.doubled, found.missing) == (1, 4, 0, 0, 0)
    assert balance(found, NO_ANSWERS)


def test_a_message_that_is_stored_twice_does_not_balance() -> None:
    found = books([Delivery("1", "acknowledged", 1)], [stored("1"), stored("1")])
    assert (found.stored, found.doubled) == (1, 1)
    assert not balance(found, NO_ANSWERS)


def test_echoes_of_the_shops_own_messages_are_not_the_customers() -> None:
    found = books(
        [Delivery("1", "acknowledged", 1), Delivery("2", "acknowledged", 1)],
        [stored("1"), stored("2", inbound=False)],
        shops={"2"},
    )
    assert (found.delivered, found.stored, found.missing) == (1, 1, 0)


@pytest.mark.parametrize(
    ("in_x", "status", "expected"),
    [
        (["hello"], "sent", AnswerBooks(1, 1, 0)),
        (["hello", "hello"], "sent", AnswerBooks(1, 0, 1)),
        ([], "sent", AnswerBooks(1, 0, 0)),
        (["hello"], "failed", AnswerBooks(1, 0, 0)),
    ],
)
def test_an_answer_is_confirmed_when_x_has_it_once_and_it_is_stored_as_sent(
    in_x: list[str], status: str, expected: AnswerBooks
) -> None:
    message = stored("9", inbound=False, content="hello", status=status)
    found = answer_books({"hello"}, [SentByShop(str(n), text) for n, text in enumerate(in_x)], [message])
    assert found == expected
    assert balance(books([], []), found) == (expected.confirmed == 1)


async def test_messages_that_wait_in_the_inbox_are_found_there(client: Client, database: Database) -> None:
    events = [
        XEvent(f"{key}:100:{n}", kind, "100", str(200 + n), NOW, {})
        for n, (key, kind) in enumerate([("dm", EventKind.MESSAGE)] * 5 + [("typing", EventKind.TYPING)] * 2)
    ]
    await Inbox(client, database).add(events, NOW)
    assert await read_inbox(database) == {"0", "1", "2", "3", "4"}


def test_lag_is_the_time_from_x_to_the_transaction() -> None:
    assert books([Delivery("1", "acknowledged", 1)], [stored("1")]).lags_ms == [10.0]


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_percentile_is_one_of_the_values_and_grows_with_its_share(values: list[float], share: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in ordered
    assert percentile(ordered, 0) == ordered[0] <= found <= percentile(ordered, 1) == ordered[-1]


def test_a_simulation_uses_nothing_of_a_real_installation(tmp_path: Path) -> None:
    real = Settings(
        mongodb_uri=SecretStr("mongodb://production"),
        ray_address="production:6379",
        x_consumer_key="real",
        x_consumer_secret=SecretStr("real"),
        x_bearer_token=SecretStr("real"),
        public_url="https://shop.example",
        encryption_key=SecretStr("real"),
        actor_hosts=3,
    )
    own = simulation_settings(real, Order(1, 1, 5, 2, 0), tmp_path)
    assert own.uses_sandbox
    assert own.actor_hosts == 3
    assert account_ids(own, Order(1, 1, 5, 2, 0)) == ["100", "101"]
    changed = {name for name in Settings.model_fields if getattr(own, name) != Settings.model_fields[name].default}
    unlimited = {"x_messages_per_day", "api_calls_per_minute"}
    assert changed == {"port", "data_dir", "actor_hosts", "sandbox_customers", "sandbox_rate"} | unlimited


def test_a_folder_that_holds_data_is_refused(tmp_path: Path) -> None:
    check_folder(tmp_path)
    check_folder(tmp_path / "new")
    (tmp_path / "generated.json").touch()
    with pytest.raises(WrongSetting, match="--data-dir"):
        check_folder(tmp_path)


def test_progress_is_plain_lines_where_there_is_no_terminal() -> None:
    stream = StringIO()
    display = Display(stream)
    display.show(Progress(10, 9, 8, 1, 5.0, 12.3))
    display.end_progress()
    display.table("summary", [("sent by customers", "10")])
    assert stream.getvalue().splitlines() == [
        "sent 10  answered 200 9  stored 8  inbox 1  events/s 5  lag 12 ms",
        "summary",
        "  sent by customers                 10",
    ]


async def start(*options: str, output: int, folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "run.py",
        "simulate",
        f"--data-dir={folder}",
        *options,
        cwd=ROOT,
        env=child_environment(Settings.model_construct()),
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=die_with_parent(),
    )


async def until_nothing_is_left(folder: Path) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if not list(processes_of(folder)):
                return
            await asyncio.sleep(0.1)


def numbers(output: str) -> dict[str, str]:
    return dict(re.findall(r"^  (\S.*?)  +(\S.*)$", output.split("summary")[1], re.MULTILINE))


@pytest.mark.program
async def test_a_small_load_is_stored_whole_and_answered(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    options = ("--rate=50", "--seconds=5", "--customers=40", "--accounts=2", "--answers=0.25")
    process = await start(*options, output=asyncio.subprocess.PIPE, folder=folder)
    async with asyncio.timeout(PATIENCE_S):
        raw, _ = await process.communicate()
    output = raw.decode()
    assert process.returncode == 0, output
    found = numbers(output)
    assert found["sent by customers"] == found["delivered (answered 200)"] == found["stored as messages"] == "250"
    assert found["missing (delivered, not stored)"] == found["stored twice"] == found["lost by X's schedule"] == "0"
    assert found["answers sent"] == found["answers confirmed by X"] == "20"
    assert "webhook.registered" not in output
    assert "webhook.registered" in (folder / "logs" / "simulate.log").read_text()
    await until_nothing_is_left(folder)


async def read_until(master: int, found: Callable[[str], bool]) -> str:
    """Read a terminal until something is found, or until it ends."""
    text = ""
    while not found(text):
        try:
            part = await asyncio.to_thread(os.read, master, 65536)
        except OSError:
            return text
        text += part.decode(errors="replace")
    return text


@pytest.mark.program
async def test_ctrl_c_in_a_terminal_stops_it_with_the_summary_of_what_there_was(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    master, terminal = pty.openpty()
    process = await start("--rate=20", "--seconds=600", output=terminal, folder=folder)
    os.close(terminal)
    async with asyncio.timeout(PATIENCE_S):
        await read_until(master, lambda text: re.search(r"answered 200", text) is not None)
        process.send_signal(signal.SIGINT)
        output = await read_until(master, lambda _: False)
        assert await process.wait() == 130
    os.close(master)
    assert re.search(r"missing \(delivered, not stored\)\W+0\W", output), output
    assert re.search(r"stored twice\W+0\W", output)
    assert "interrupted" in output
    await until_nothing_is_left(folder)
