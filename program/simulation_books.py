"""What became of every message: what X says it delivered against what the database holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from program.simulation_sandbox import Delivery, LoadProgress, SentByShop
from storage.client import Database

_LOST, _ACKNOWLEDGED = "lost", "acknowledged"
_FIELDS = {"twitterMessageId": 1, "direction": 1, "status": 1, "content": 1, "sentAt": 1, "createdAt": 1}


@dataclass(frozen=True, slots=True)
class Stored:
    """A message as the database holds it; `sent_at` is X's time, `created_at` that of the transaction that wrote it."""

    message_id: str
    inbound: bool
    status: str
    content: str
    sent_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class CustomerBooks:
    """What became of the customers' messages, in messages; `under_way` and `waiting` are zero after a whole run.

    `missing` was answered 200 and is neither stored nor in the inbox; `repeated` counts attempts after the first.
    """

    sent: int
    delivered: int
    repeated: int
    lost: int
    under_way: int
    stored: int
    waiting: int
    missing: int
    doubled: int
    lags_ms: Sequence[float]
    per_second: float


@dataclass(frozen=True, slots=True)
class AnswerBooks:
    """What became of the agent's answers: `confirmed` are in X exactly once, and stored as sent."""

    sent: int
    confirmed: int
    doubled: int


def balance(customers: CustomerBooks, answers: AnswerBooks) -> bool:
    """Say whether nothing is missing, doubled or lost."""
    wrong = customers.missing + customers.doubled + customers.lost + answers.doubled
    return wrong == 0 and answers.confirmed == answers.sent


def customer_books(
    sent: int, deliveries: Iterable[Delivery], stored: Iterable[Stored], inbox: Collection[str], shops: Collection[str]
) -> CustomerBooks:
    """Draw up the books of the customers' messages.

    `sent` is how many they wrote, `inbox` the ids of messages that wait there, `shops` those of the shops' own
    messages, whose deliveries are left out.
    """
    outcomes: dict[str, set[str]] = {}
    repeated = 0
    for delivery in deliveries:
        if delivery.message_id not in shops:
            repeated += delivery.attempts - (0 if delivery.message_id in outcomes else min(1, delivery.attempts))
            outcomes.setdefault(delivery.message_id, set()).add(delivery.outcome)
    delivered = {message for message, found in outcomes.items() if _ACKNOWLEDGED in found}
    lost = sum(found == {_LOST} for found in outcomes.values())
    inbound = [message for message in stored if message.message_id in outcomes]
    counts = Counter(message.message_id for message in inbound)
    waiting = delivered.intersection(inbox) - counts.keys()
    return CustomerBooks(
        sent=sent,
        delivered=len(delivered),
        repeated=repeated,
        lost=lost,
        under_way=max(0, sent - len(delivered) - lost),
        stored=len(counts),
        waiting=len(waiting),
        missing=len(delivered - counts.keys() - waiting),
        doubled=sum(count > 1 for count in counts.values()),
        lags_ms=sorted(_ms(message.sent_at, message.created_at) for message in inbound if message.sent_at),
        per_second=_per_second(inbound),
    )


def answer_books(texts: Collection[str], in_x: Iterable[SentByShop], stored: Iterable[Stored]) -> AnswerBooks:
    """Draw up the books of the answers; each has a text of its own."""
    taken: Mapping[str, int] = Counter(message.text for message in in_x)
    sent = {message.content for message in stored if not message.inbound and message.status == "sent"}
    return AnswerBooks(
        sent=len(texts),
        confirmed=sum(taken[text] == 1 and text in sent for text in texts),
        doubled=sum(taken[text] > 1 for text in texts),
    )


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the value below which a share of the sorted values lies; nothing where there are none."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


async def read_stored(database: Database) -> list[Stored]:
    """Read all messages."""
    return [
        Stored(
            document["twitterMessageId"] or "",
            document["direction"] == "inbound",
            document["status"],
            document["content"],
            document["sentAt"],
            document["createdAt"],
        )
        async for document in database["messages"].find({}, _FIELDS)
    ]


async def read_inbox(database: Database) -> set[str]:
    """Read the ids of the messages that wait in the inbox."""
    keys = [
        event["key"] async for document in database["inbox"].find({}, {"events.key": 1}) for event in document["events"]
    ]
    return {key.rpartition(":")[2] for key in keys if key.startswith("dm:")}


def summary(
    customers: CustomerBooks, answers: AnswerBooks, load: LoadProgress, *, answering: bool
) -> list[tuple[str, str]]:
    """Return the lines of the summary: what, and how much."""
    lags = customers.lags_ms
    lines = [
        ("sent by customers", str(customers.sent)),
        ("delivered (answered 200)", str(customers.delivered)),
        ("repeated deliveries", str(customers.repeated)),
        ("lost by X's schedule", str(customers.lost)),
        ("not delivered yet", str(customers.under_way)),
        ("stored as messages", str(customers.stored)),
        ("waiting in the inbox", str(customers.waiting)),
        ("missing (delivered, not stored)", str(customers.missing)),
        ("stored twice", str(customers.doubled)),
        ("ack latency p50 / p99 / max", _times(load["p50_ms"], load["p99_ms"], load["max_ms"])),
        ("lag from X to stored p50 / p99", _times(percentile(lags, 0.5), percentile(lags, 0.99))),
        ("throughput", f"{customers.per_second:.1f} stored a second"),
    ]
    if answering:
        lines += [
            ("answers sent", str(answers.sent)),
            ("answers confirmed by X", str(answers.confirmed)),
            ("answers doubled", str(answers.doubled)),
        ]
    return lines


def _times(*values: float | None) -> str:
    return " / ".join("-" if value is None else f"{value:.1f}" for value in values) + " ms"


def _ms(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds() * 1000


def _per_second(inbound: Sequence[Stored]) -> float:
    """Return messages a second between the first message's writing and the last one's storing."""
    starts = [message.sent_at for message in inbound if message.sent_at]
    if not starts:
        return 0.0
    seconds = _ms(min(starts), max(message.created_at for message in inbound)) / 1000
    return len(inbound) / seconds if seconds > 0 else 0.0
