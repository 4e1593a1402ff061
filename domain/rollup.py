"""What is counted of documents, by merchant, account and flow, and by hour (docs/analytics.md).

One rule for all who count: whoever writes a document adds what it counts for to the tally of the same transaction, who
changes it takes away what it counted for before, and a recount adds up the same over all documents.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from domain.active_days import Pairs, day_of_number
from domain.response_histogram import bucket_of

#: The scope of everything that a merchant has.
MERCHANT: Final = "merchant"
#: Messages that people send to try a campaign out: counted nowhere (contract, part 5, "Campaigns").
_TRIAL: Final = "test"

_RECEIVED: Final = "received"
_SENT: Final = "sent:"

#: Counts by path in the document of a day: `total.received`, `hours.13.received`, `active.2026-01-17`.
Counts = Counter[str]


def account_scope(account_id: str) -> str:
    """Return the scope of what one account has."""
    return f"account:{account_id}"


def counts_messages(measure: str) -> bool:
    """Whether a measure is of messages, in either direction."""
    return measure == _RECEIVED or measure.startswith(_SENT)


def flow_scope(flow_id: str) -> str:
    """Return the scope of what one flow has."""
    return f"flow:{flow_id}"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A day (UTC) of a merchant, in one scope."""

    merchant_id: str
    scope: str
    day: str


class Tally:
    """Gathers what one transaction counts."""

    def __init__(self) -> None:
        #: By merchant, account, flow (empty: of none) and hour since 1970: many documents of a batch have these alike.
        self._hours: dict[tuple[str, str, str, int], Counts] = {}
        self._active: dict[Place, Counts] = {}

    @property
    def places(self) -> dict[Place, Counts]:
        """What is counted, by where it is kept."""
        places = {place: Counts(counts) for place, counts in self._active.items()}
        for (merchant_id, account_id, flow_id, hour), sums in self._hours.items():
            day, of_day = day_of_number(hour // 24), f"hours.{hour % 24:02}"
            scopes = [MERCHANT, account_scope(account_id)]
            if flow_id:
                scopes.append(flow_scope(flow_id))
            for scope in scopes:
                counts = places.setdefault(Place(merchant_id, scope, day), Counts())
                for measure, amount in sums.items():
                    counts[f"total.{measure}"] += amount
                    counts[f"{of_day}.{measure}"] += amount
        return places

    def message(self, message: Mapping[str, Any], times: int = 1) -> None:
        """Count a message, once it was received, or X has it: `received`, `sent:{source}`, and how long it took.

        What is still to be sent, has failed or was a trial counts for nothing.
        """
        if message["status"] == "received":
            self._add(message, message["at"], _RECEIVED, times)
        elif message["status"] == "sent" and message["source"] != _TRIAL:
            self._add(message, message["at"], f"{_SENT}{message['source']}", times)
            seconds = message.get("answeredAfterS")
            if seconds is not None:
                self._add(message, message["at"], "responseSeconds", seconds * times)
                self._add(message, message["at"], f"responses:{bucket_of(seconds)}", times)

    def conversation(self, conversation: Mapping[str, Any], times: int = 1) -> None:
        """Count a conversation: `conversationsStarted`, and `conversationsClosed` once it is."""
        self._add(conversation, conversation["startedAt"], "conversationsStarted", times)
        if conversation["closedAt"] is not None:
            self.closed(conversation, conversation["closedAt"], times)

    def closed(self, conversation: Mapping[str, Any], at: datetime, times: int = 1) -> None:
        """Count that a conversation was closed, or went while it was open."""
        self._add(conversation, at, "conversationsClosed", times)

    def contact(self, contact: Mapping[str, Any], times: int = 1) -> None:
        """Count a contact at the moment that it was made known: `contactsNew`."""
        self._add(contact, contact["createdAt"], "contactsNew", times)

    def removed(self, contact: Mapping[str, Any], at: datetime, times: int = 1) -> None:
        """Count that a contact was erased, or became part of another one: `contactsRemoved`."""
        self._add(contact, at, "contactsRemoved", times)

    def active(self, contact: Mapping[str, Any], pairs: Pairs, times: int = 1) -> None:
        """Count days on which a contact was active, each with the day before that it was."""
        for (day, before), count in pairs.items():
            for scope in (MERCHANT, account_scope(contact["accountId"])):
                place = Place(contact["merchantId"], scope, day)
                self._active.setdefault(place, Counts())[f"active.{before}"] += count * times

    def execution(self, execution: Mapping[str, Any], times: int = 1) -> None:
        """Count an execution of a flow: `executions:started`, and how it ended once it has."""
        flow_id = execution["flowId"]
        self._add(execution, execution["startedAt"], "executions:started", times, flow_id)
        if execution["completedAt"] is not None:
            self._add(execution, execution["completedAt"], f"executions:{execution['status']}", times, flow_id)

    def _add(self, document: Mapping[str, Any], at: datetime, measure: str, amount: int, flow_id: str = "") -> None:
        key = (document["merchantId"], document["accountId"], flow_id, hour_of(at))
        counts = self._hours.get(key)
        if counts is None:
            counts = self._hours[key] = Counts()
        counts[measure] += amount


def hour_of(moment: datetime) -> int:
    """Return the hour that a moment is in, counted from 1970 (UTC)."""
    return int(moment.timestamp() // 3600)
