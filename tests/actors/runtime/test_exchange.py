from __future__ import annotations

import asyncio
import time
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.runtime.exchange import Exchange
from actors.runtime.wire import Call, Outcome, decode_outcomes, encode_calls
from tests.actors.runtime.probes import stage_host

_IDS = count(1)


def batch(*notes: object, method: str = "note", key: str = "k") -> bytes:
    deadline = time.time() + 60
    return encode_calls([Call(next(_IDS), "probe", key, method, (note,), None, deadline) for note in notes])


async def ask(exchange: Exchange, method: str, caller: str = "asker") -> object:
    call = Call(next(_IDS), "probe", "k", method, (), None, time.time() + 60)
    found = decode_outcomes(await exchange.deliver(caller, 0, encode_calls([call])))
    return (found or decode_outcomes(await exchange.collect(caller)))[0].value


async def everything(exchange: Exchange, caller: str, deliveries: list[bytes], wanted: int) -> list[Outcome]:
    outcomes = [outcome for data in deliveries for outcome in decode_outcomes(data)]
    async with asyncio.timeout(30):
        while len(outcomes) < wanted:
            outcomes += decode_outcomes(await exchange.collect(caller))
    return outcomes


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8), data=st.data())
async def test_batches_are_taken_in_the_order_of_their_numbers(sizes: list[int], data: st.DataObject) -> None:
    host, _ = stage_host()
    exchange = Exchange(host)
    numbers = count()
    batches = [[next(numbers) for _ in range(size)] for size in sizes]
    arrival = data.draw(st.permutations(range(len(batches))))
    tasks = []
    for number in arrival:
        tasks.append(asyncio.create_task(exchange.deliver("caller", number, batch(*batches[number]))))
        for _ in range(data.draw(st.integers(0, 3))):
            await asyncio.sleep(0)
    delivered = await asyncio.gather(*tasks)
    total = sum(sizes)
    outcomes = await everything(exchange, "caller", delivered, total)
    assert len({outcome.id for outcome in outcomes}) == len(outcomes) == total
    assert await ask(exchange, "log") == (list(range(total)), 1)
    await host.stop(1)


async def test_the_numbers_of_one_caller_hold_up_no_other() -> None:
    host, _ = stage_host()
    exchange = Exchange(host)
    early = asyncio.create_task(exchange.deliver("one", 1, batch("second")))
    await asyncio.sleep(0)
    await everything(exchange, "other", [await exchange.deliver("other", 0, batch("other"))], 1)
    assert not early.done()
    delivered = [await exchange.deliver("one", 0, batch("first")), await early]
    await everything(exchange, "one", delivered, 2)
    assert await ask(exchange, "log") == (["other", "first", "second"], 1)
    await host.stop(1)


async def test_what_is_ready_at_once_comes_with_the_delivery_and_the_rest_by_collection() -> None:
    host, stage = stage_host()
    exchange = Exchange(host)
    quick = batch("x", method="open", key="quick")
    slow = batch("gate", method="wait_at", key="slow")
    assert len(decode_outcomes(await exchange.deliver("caller", 0, quick))) <= 1
    assert decode_outcomes(await exchange.deliver("caller", 1, slow)) == []
    collecting = asyncio.create_task(exchange.collect("caller"))
    await asyncio.sleep(0)
    stage.gates["gate"].set()
    values: list[object] = []
    async with asyncio.timeout(30):
        values += [outcome.value for outcome in decode_outcomes(await collecting)]
        while "gate" not in values:
            values += [outcome.value for outcome in decode_outcomes(await exchange.collect("caller"))]
    await host.stop(1)


async def test_late_answers_go_to_the_caller_that_asked() -> None:
    host, stage = stage_host()
    exchange = Exchange(host)
    await exchange.deliver("one", 0, batch("gate", method="wait_at", key="a"))
    await exchange.deliver("two", 0, batch("gate", method="wait_at", key="b"))
    stage.gates["gate"].set()
    for caller in ("one", "two"):
        assert len(decode_outcomes(await exchange.collect(caller))) == 1
    await host.stop(1)
