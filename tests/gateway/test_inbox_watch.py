"""What waits in the inbox is seen: how much, and for how long."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pymongo.errors import OperationFailure

from domain.clock import SystemClock
from gateway.inbox_watch import InboxWatch
from storage.client import Client, Database
from storage.inbox import Inbox
from tests.actors.desk import failing, until
from tests.metric_values import value
from tests.storage.arrivals import START, message


class Clock:
    def now(self):
        return START + timedelta(minutes=5)


async def test_the_oldest_of_all_lanes_counts(client: Client, database: Database) -> None:
    inbox = Inbox(client, database)
    watch = InboxWatch(inbox, Clock())
    await watch.look()
    assert (value("mktx_inbox_pending"), value("mktx_inbox_oldest_seconds")) == (0, 0)
    for minute in range(4):
        # Other customers: other lanes.
        await inbox.add([message(user=str(200 + minute)) for _ in range(3)], START + timedelta(minutes=4 - minute))
    await watch.look()
    assert (value("mktx_inbox_pending"), value("mktx_inbox_oldest_seconds")) == (12, 240)


async def test_a_database_that_fails_once_is_asked_again(
    client: Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.inbox_watch._EVERY_S", 0.01)
    inbox = Inbox(client, database)
    watch = InboxWatch(inbox, SystemClock())
    await watch.look()
    await inbox.add([message()], START)
    async with failing(client, ["aggregate"], {"times": 1}, errorCode=13):
        with pytest.raises(OperationFailure):
            await watch.look()
    async with failing(client, ["aggregate"], {"times": 1}, errorCode=13):
        watch.start()
        await until(lambda: value("mktx_inbox_pending") == 1)
    await watch.stop()
