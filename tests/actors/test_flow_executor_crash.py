"""Executions whose host dies, whose database fails, who are told twice, and whose host is believed dead."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.flow_executor import FlowExecutor
from actors.kinds import actor_factories
from actors.runtime.host import ActorHost
from actors.runtime.system import LocalActors
from config.settings import Settings
from storage.client import Client, Database
from storage.flow_documents import FlowDocument
from tests.actors.desk import failing
from tests.actors.flow_stage import FlowStage, open_flow_stage
from tests.domain.flow_bodies import node

#: Whatever a step, an effect or an outcome is written by.
WRITES = ["insert", "update", "delete", "findAndModify", "commitTransaction", "bulkWrite"]
#: What X has of one execution of `journey`.
TEXTS = ["First", "Your order is A-17"]
VISITED = ["first", "tag", "call", "second", "other", "pause", "done"]


@pytest.fixture
async def stage(client: Client, database: Database, settings: Settings) -> AsyncIterator[FlowStage]:
    async with open_flow_stage(client, database, settings) as stage:
        await stage.account()
        yield stage


async def journey(stage: FlowStage) -> tuple[FlowDocument, FlowDocument]:
    """Return a flow with an effect of every kind, and the one that it starts."""
    started = await stage.flow(node("x", "end"), reEntry="always")
    flow = await stage.flow(
        node("first", "send_message", templateId=await stage.template("First")),
        node("tag", "add_tag", tag="vip"),
        node("call", "http_request", url=f"{stage.shop.url}/order", saveAs="number"),
        node("second", "send_message", templateId=await stage.template("Your order is {{ number }}")),
        node("other", "start_flow", flowId=started["_id"]),
        node("pause", "wait", duration=1),
        node("done", "end"),
    )
    return flow, started


async def check(stage: FlowStage, flow: FlowDocument, started: FlowDocument, execution_ids: list[str]) -> None:
    """Check that everything was done, and nothing twice."""
    sent = Counter(text for _, text in stage.in_x())
    people = {person for person, _ in stage.in_x()}
    assert sent == Counter(dict.fromkeys(TEXTS, len(execution_ids)))
    assert max(stage.in_x().values()) == 1
    assert len(people) == len(execution_ids)
    failed = Counter[str]()
    for execution_id in execution_ids:
        history = (await stage.execution(execution_id))["history"]
        done = [each["nodeId"] for each in history if each["outcome"] == "done"]
        assert done == VISITED
        failed.update(each["nodeId"] for each in history if each["outcome"] == "failed")
    counts = await stage.node_counts(flow["_id"])
    each_once = len(execution_ids)
    for name in VISITED:
        expected = Counter(entered=each_once + failed[name], done=each_once, failed=failed[name])
        assert counts[name] == dict(+expected)
    query = {"flowId": started["_id"], "status": "completed"}
    assert await stage.database["flowExecutions"].count_documents(query) == len(execution_ids)
    assert await stage.database["flowExecutions"].count_documents({}) == 2 * len(execution_ids)
    assert await stage.left_over() == []
    assert await stage.database["reminders"].count_documents({}) == 0


async def until_all_over(stage: FlowStage) -> None:
    """Wait for the end of everything.

    A message that was claimed, and of which X shows nothing, is given up: that is told, and left to people to repeat.
    """

    async def over() -> bool:
        async for failed in stage.database["flowExecutions"].find({"status": "failed"}):
            assert failed["state"]["failure"] == "ambiguous"
            await stage.retry(failed["_id"])
        running = await stage.database["flowExecutions"].count_documents({"status": "running"})
        due = await stage.database["reminders"].count_documents({})
        return not running and not due and not await stage.left_over()

    await stage.until(over)


@pytest.mark.parametrize("writes", range(1, 31, 3))
async def test_a_host_that_dies_at_any_write_repeats_nothing_and_forgets_nothing(stage: FlowStage, writes: int) -> None:
    flow, started = await journey(stage)
    [contact_id] = await stage.contacts(stage.accounts[0], 1)
    execution_id = await stage.order(flow, contact_id)
    actors = stage.start()
    # The connection breaks at each write after so many; the last may have been done or not.
    async with failing(stage.client, WRITES, {"skip": writes}, closeConnection=True):
        told = asyncio.gather(actors.ref(FlowExecutor, contact_id, timeout_s=1).take(), return_exceptions=True)
        await asyncio.sleep(0.6)
        await stage.crash()
        await told
    stage.start(x_settle_timeout_s=2.0)
    await stage.resume_everything()
    await until_all_over(stage)
    assert len(stage.shop.keys) == 1
    await check(stage, flow, started, [execution_id])


async def test_hosts_that_die_again_and_again_lose_nobody(stage: FlowStage) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    flow, started = await journey(stage)
    contact_ids = await stage.contacts(stage.accounts[0], 30)
    execution_ids = [await stage.order(flow, contact_id) for contact_id in contact_ids]
    for _ in range(8):
        stage.start()
        await stage.resume_everything()
        await asyncio.sleep(chance.uniform(0.05, 0.6))
        await stage.crash()
    stage.start(x_settle_timeout_s=2.0)
    await stage.resume_everything()
    await until_all_over(stage)
    await check(stage, flow, started, execution_ids)


async def test_whatever_is_told_twice_counts_once(stage: FlowStage) -> None:
    stage.start()
    [contact_id] = await stage.contacts(stage.accounts[0], 1)
    flow = await stage.flow(
        node("a", "send_message", templateId=await stage.template("One")),
        node("b", "wait_for_reply", saveAs="first"),
        node("c", "wait_for_reply", saveAs="second"),
        node("d", "wait", duration=1),
        node("e", "send_message", templateId=await stage.template("Two")),
        reEntry="always",
    )
    events = stage.database["flowEvents"]

    async def again() -> None:
        """Put back everything that was there, and have it taken."""
        for event in seen.values():
            await events.update_one({"_id": event["_id"]}, {"$setOnInsert": event}, upsert=True)
        await asyncio.gather(*(stage.executor(contact_id).take() for _ in range(3)))

    seen: dict[str, Any] = {}
    execution_id = await stage.order(flow, contact_id)
    seen |= {each["_id"]: each for each in await stage.left_over()}
    await stage.executor(contact_id).take()
    await stage.until_execution(execution_id, node="b")
    sent: Any = await stage.database["messages"].find_one({"flow.executionId": execution_id})
    common = {name: sent[name] for name in ("merchantId", "accountId", "contactId")}
    mark = {"executionId": execution_id, "nodeId": "a", "visit": 1, "messageId": sent["_id"], "at": sent["at"]}
    for kind in ("sent", "failed"):
        event = {"_id": f"00|{contact_id}|{kind}", **common, **mark, "kind": kind, "reason": "late"}
        seen[event["_id"]] = event
    await again()
    assert (await stage.execution(execution_id))["currentNodeId"] == "b"
    message_id = await stage.say(contact_id, "blue", tell=False)
    seen |= {each["_id"]: each for each in await stage.left_over()}
    await again()
    await again()
    found: Any = await stage.execution(execution_id)
    assert (found["currentNodeId"], found["state"]["variables"]) == ("c", {"first": "blue"})
    assert found["state"]["heard"] == [message_id]
    await stage.say(contact_id, "green")
    await again()
    for _ in range(3):
        await stage.executor(contact_id).on_reminder(execution_id, {})
    await stage.until_execution(execution_id, "completed")
    await again()
    await stage.executor(contact_id).on_reminder(execution_id, {})
    assert Counter(text for _, text in stage.in_x()) == {"One": 1, "Two": 1}
    assert await stage.database["flowExecutions"].count_documents({}) == 1
    assert len(await stage.path(execution_id)) == 8
    assert await stage.left_over() == []


async def test_two_hosts_that_both_have_a_contact_do_everything_once(stage: FlowStage) -> None:
    flow, started = await journey(stage)
    contact_ids = await stage.contacts(stage.accounts[0], 5)
    stage.start()
    believed_dead = ActorHost({})
    others = LocalActors(believed_dead)

    def tell(kind: str, key: str, method: str, *args: object) -> None:
        told: Any = others.call(kind, key, method, args, {}, 60)
        told.add_done_callback(lambda done: done.cancelled() or done.exception())

    factories = actor_factories(
        stage.settings, stage.client, stage.database, stage.session, stage.clock, 99, tell, name="other"
    )
    # Its executors alone: the actor of the account is the other host's.
    believed_dead._factories = {FlowExecutor.kind: factories[FlowExecutor.kind]}
    execution_ids = [await stage.order(flow, contact_id) for contact_id in contact_ids]

    async def both() -> None:
        for contact_id in contact_ids:
            await asyncio.gather(
                *(actors.ref(FlowExecutor, contact_id).take() for actors in (others, LocalActors(stage.host))),  # type: ignore[arg-type]
                return_exceptions=True,
            )

    for execution_id in execution_ids:
        async with asyncio.timeout(60):
            while True:
                await both()
                found = await stage.database["flowExecutions"].find_one({"_id": execution_id})
                if found is not None and found["status"] == "completed":
                    break
                await asyncio.sleep(0.05)
                # What one host has queued, the feed of accounts finds.
                await stage.resume_everything()
    await until_all_over(stage)
    await believed_dead.stop(0.1)
    await check(stage, flow, started, execution_ids)


async def test_what_was_decided_by_an_old_revision_is_decided_anew(stage: FlowStage) -> None:
    stage.start()
    [contact_id] = await stage.contacts(stage.accounts[0], 1)
    flow = await stage.flow(node("a", "wait_for_reply"), node("b", "add_tag"))
    execution_id = await stage.begin(flow, contact_id)
    executor: Any = stage.host._activations["flow_executor", contact_id].actor  # type: ignore[union-attr]
    read, times = executor._services.situations.read, 0

    async def read_and_be_overtaken(asked: Any) -> Any:
        nonlocal times
        situation = await read(asked)
        times += 1
        if times == 1:
            await stage.database["flowExecutions"].update_one({"_id": execution_id}, {"$inc": {"revision": 1}})
        return situation

    executor._services.situations.read = read_and_be_overtaken
    await stage.say(contact_id, "hello")
    executor._services.situations.read = read
    await stage.until_execution(execution_id, "completed")
    assert times >= 2
    assert await stage.path(execution_id) == [
        ("a", "waiting", None),
        ("a", "done", "reply"),
        ("b", "done", "next"),
    ]


async def test_one_step_that_can_not_be_written_keeps_no_other_from_being(stage: FlowStage) -> None:
    stage.start()
    contact_ids = await stage.contacts(stage.accounts[0], 20)
    flow = await stage.flow(node("a", "wait_for_reply"), node("b", "end"))
    execution_ids = [await stage.begin(flow, contact_id) for contact_id in contact_ids]
    await asyncio.gather(*(stage.say(contact_id, "hi", tell=False) for contact_id in contact_ids))

    service: Any = stage.host._activations["flow_executor", contact_ids[0]].actor  # type: ignore[union-attr]
    write, sizes = service._services.executions._write, []

    async def note(steps: Any) -> None:
        sizes.append(len(steps))
        if len(sizes) == 2:
            await stage.database["flowExecutions"].update_one({"_id": execution_ids[7]}, {"$inc": {"revision": 1}})
        await write(steps)

    service._services.executions._write = note
    await asyncio.gather(*(stage.executor(contact_id).take() for contact_id in contact_ids))

    for execution_id in execution_ids:
        assert (await stage.execution(execution_id))["status"] == "completed"
    assert max(sizes) > 1
    assert (await stage.node_counts(flow["_id"]))["b"] == {"entered": 20, "done": 20}


async def test_a_contact_that_is_erased_while_it_begins_leaves_nothing(stage: FlowStage) -> None:
    stage.start()
    contact_id, other = await stage.contacts(stage.accounts[0], 2)
    flow = await stage.flow(node("a", "wait", duration=3600))
    await stage.begin(flow, other)
    executor: Any = stage.host._activations["flow_executor", other].actor  # type: ignore[union-attr]
    executions = executor._services.executions
    write = executions._write

    async def erase_meanwhile(steps: Any) -> None:
        await write(steps)
        # The erasure has removed the contact, and looked for its executions, just before.
        await stage.database["contacts"].delete_one({"_id": contact_id})

    executions._write = erase_meanwhile
    await stage.begin(flow, contact_id)
    assert await stage.database["flowExecutions"].distinct("contactId") == [other]
