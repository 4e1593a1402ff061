"""X's webhook over real HTTP, into the real inbox: what is taken, what is refused, and when 200 may be said."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Handler
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from multidict import CIMultiDict
from pydantic import SecretStr
from pymongo.read_concern import ReadConcern

from domain.clock import SystemClock
from domain.partition import LANES
from domain.x_signature import sign
from gateway.app import create_app
from gateway.commit import REQUESTS, GroupCommit
from gateway.dependencies import Dependencies
from gateway.http_server import Runner
from gateway.webhooks import PATH, VERIFY_PATH, Webhooks
from gateway.whole_calls import WholeCalls
from storage.client import Client, Database
from storage.inbox import Inbox, entry_of, event_of, lane_of_event
from tests.domain.x_payloads import AAA_EXAMPLES, SEED_EXAMPLE, aaa, item, xaa
from tests.gateway.conftest import eventually

SECRET, FORMER = b"test-consumer-secret", b"test-former-secret"
HEADER = "X-Twitter-Webhooks-Signature"
MIB = 1024 * 1024


@dataclass
class Answer:
    status: int
    headers: Any
    body: dict[str, Any]


@dataclass
class Door:
    """The webhook as X sees it, and what is behind it."""

    http: TestClient[Any, Any]
    database: Database
    told: list[tuple[set[int], int]] = field(default_factory=list)

    async def post(
        self, body: bytes | AsyncIterator[bytes], *signatures: str | None, method: str = "POST", **headers: str
    ) -> Answer:
        sent = CIMultiDict({"Content-Type": "application/json"})
        for signature in signatures:
            if signature is not None:
                sent.add(HEADER, signature)
        for name, value in headers.items():
            sent.add(name.replace("_", "-"), value)
        async with self.http.request(method, PATH, data=body, headers=sent) as response:
            raw = await response.read()
            answer = Answer(response.status, response.headers, orjson.loads(raw))
        assert answer.headers["X-Request-Id"]
        if not answer.body["success"]:
            assert answer.body["requestId"] == answer.headers["X-Request-Id"]
        return answer

    async def send(self, body: bytes, secret: bytes = SECRET) -> Answer:
        return await self.post(body, sign(secret, body))

    async def challenge(self, query: str, path: str = VERIFY_PATH) -> Answer:
        async with self.http.get(f"{path}?{query}") as response:
            answer = Answer(response.status, response.headers, await response.json())
        assert answer.headers["X-Request-Id"]
        return answer

    async def documents(self) -> list[dict[str, Any]]:
        return await self.database["inbox"].find().sort("_id", 1).to_list()

    async def events(self) -> list[dict[str, Any]]:
        """Return what waits, each event as it will be processed."""
        return [
            entry_of(event_of(entry, document["receivedAt"]))
            for document in await self.documents()
            for entry in document["events"]
        ]

    async def letters(self) -> list[dict[str, Any]]:
        return await self.database["deadLetters"].find().to_list()


class Server(TestServer):
    """Serves as the program does."""

    express: Mapping[str, Handler]
    whole_calls: WholeCalls | None

    async def _make_runner(self, **_settings: Any) -> web.BaseRunner:
        return Runner(self.app, express=self.express, whole_calls=self.whole_calls)


@pytest.fixture(params=["in one piece", "as a request"])
async def door(request: pytest.FixtureRequest, deps: Dependencies, gateway_database: Database) -> AsyncIterator[Door]:
    """The door, by both ways that a call may take."""
    settings = deps.settings.model_copy(
        update={
            "max_body_bytes": MIB,
            "x_consumer_secret": SecretStr(SECRET.decode()),
            "x_consumer_secret_old": SecretStr(FORMER.decode()),
            "request_body_timeout_s": 0.2,
        }
    )
    await gateway_database["inbox"].delete_many({})
    await gateway_database["deadLetters"].delete_many({})
    told: list[tuple[set[int], int]] = []

    def stored(lanes: Iterable[int], calls: int) -> None:
        told.append((set(lanes), calls))

    inbox = Inbox(gateway_database.client, gateway_database)
    commit = GroupCommit(inbox, SystemClock(), stored)
    app = create_app(replace(deps, settings=settings))
    server = Server(app)
    webhooks = Webhooks(settings, commit, inbox, SystemClock())
    server.express = webhooks.add_to(app)
    server.whole_calls = webhooks if request.param == "in one piece" else None
    async with TestClient(server) as http:
        yield Door(http, gateway_database, told)
    await commit.close()


@asynccontextmanager
async def failing(client: Client, name: str, mode: object = "alwaysOn", **data: object) -> AsyncIterator[None]:
    """Have a failpoint of the database on for a while."""
    command = {"configureFailPoint": name, "mode": mode}
    await client.admin.command({**command, "data": data} if data else command)
    try:
        yield
    finally:
        await client.admin.command({"configureFailPoint": name, "mode": "off"})


def message(text: str = "hi", message_id: str = "9001", sender: str = "200") -> bytes:
    return orjson.dumps(aaa(item(message_id, sender=sender, text=text)))


# --- what is taken


async def test_a_signed_event_is_stored_before_it_is_answered(door: Door) -> None:
    answer = await door.send(message("Hello!"))

    assert (answer.status, answer.body) == (200, {"success": True, "data": None})
    [event] = await door.events()
    assert (event["key"], event["kind"], event["forUserId"], event["participantId"]) == (
        "dm:100:9001",
        "message",
        "100",
        "200",
    )
    assert event["data"]["text"] == "Hello!"


async def test_one_message_is_kept_as_it_came_and_many_are_read_at_once(door: Door) -> None:
    one = message("as it came")
    assert (await door.send(one)).status == 200
    assert (await door.send(orjson.dumps(aaa(item("9002"), item("9003"))))).status == 200
    entries = [entry for document in await door.documents() for entry in document["events"]]
    assert [entry.get("body") for entry in entries] == [one, None, None]


async def test_the_address_is_known_in_every_form(door: Door) -> None:
    signed = {HEADER: sign(SECRET, message())}
    async with door.http.post(f"{PATH}?attempt=2", data=message(), headers=signed) as response:
        assert response.status == 200
        assert response.headers["X-Request-Id"]
    assert len(await door.events()) == 1


@pytest.mark.parametrize("secret", [SECRET, FORMER])
async def test_both_live_secrets_are_accepted(door: Door, secret: bytes) -> None:
    assert (await door.send(message(), secret)).status == 200
    assert len(await door.events()) == 1


async def test_the_example_of_the_api_document_is_taken(door: Door) -> None:
    assert (await door.send(orjson.dumps(SEED_EXAMPLE))).status == 200
    [event] = await door.events()
    assert (event["key"], event["participantId"]) == ("dm:123456789:123456789", "987654321")


@pytest.mark.parametrize("payload", AAA_EXAMPLES, ids=lambda payload: next(name for name in payload if "_" in name))
async def test_every_family_of_account_activity_is_taken(door: Door, payload: dict[str, Any]) -> None:
    assert (await door.send(orjson.dumps(payload))).status == 200
    [event] = await door.events()
    assert event["kind"] != "unknown"


async def test_the_activity_envelope_is_taken_and_means_the_same(door: Door) -> None:
    assert (await door.send(message())).status == 200
    assert (await door.send(orjson.dumps(xaa("dm.received", {"direct_message_events": [item()]})))).status == 200
    by_account, by_activity = await door.events()
    assert (by_account["key"], by_account["data"]) == (by_activity["key"], by_activity["data"])


async def test_an_event_of_an_account_that_nobody_connected_is_kept(door: Door) -> None:
    assert (await door.send(orjson.dumps(aaa(item(recipient="31337"), for_user="31337")))).status == 200
    assert [event["forUserId"] for event in await door.events()] == ["31337"]


async def test_events_of_one_call_are_put_into_their_lanes_and_all_of_them_are_told(door: Door) -> None:
    items = [item(str(9000 + number), sender=str(200 + number)) for number in range(60)]
    assert (await door.send(orjson.dumps(aaa(*items)))).status == 200

    documents = await door.documents()
    lanes = {int(document["_id"][:2], 16) for document in documents}
    assert lanes == set(range(LANES))
    assert door.told == [(lanes, 1)]
    assert sorted(event["key"] for event in await door.events()) == [f"dm:100:{9000 + n}" for n in range(60)]


@pytest.mark.parametrize(
    "payload",
    [
        {"for_user_id": "100", "brand_new_events": [{"a": 1}]},
        {"for_user_id": "100", "brand_new_thing": {"a": 1}},
        {"for_user_id": "100", "direct_message_events": [{"type": "message_create", "id": None}]},
        {"for_user_id": "100", "direct_message_events": [17]},
        {"for_user_id": "100", "direct_message_events": "none"},
        {"for_user_id": {"$gt": ""}, "direct_message_events": [item()]},
        {"for_user_id": "100", "follow_events": [{"type": "$where"}]},
        {"for_user_id": "100", "x_events": [{"$set": {"a.b": 1, "": 2, "nul\0": 3}}]},
        {"for_user_id": "100", "x_events": 18446744073709551615},
        xaa("chat.received", {"any": "thing"}),
        xaa("dm.received", {"direct_message_events": [None]}),
    ],
)
async def test_what_is_unknown_or_malformed_is_kept_and_answered_200(door: Door, payload: dict[str, Any]) -> None:
    assert (await door.send(orjson.dumps(payload))).status == 200
    [event] = await door.events()
    assert event["kind"] == "unknown"
    assert not await door.letters()


# --- signatures


async def test_without_a_signature_nothing_is_stored(door: Door) -> None:
    answer = await door.post(message())

    assert (answer.status, answer.body["code"]) == (401, "UNAUTHORIZED")
    assert not await door.events()
    assert not await door.letters()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda good: sign(b"stranger", message()),
        lambda good: "",
        lambda good: good.removeprefix("sha256="),
        lambda good: good.replace("sha256", "sha1"),
        lambda good: good.upper(),
        lambda good: good[:-1],
        lambda good: "sha256=" + "é" * 44,
        lambda good: good[:20] + "ü" + good[21:],
        lambda good: good + ", " + good,
    ],
)
async def test_a_wrong_signature_is_refused_and_nothing_is_stored(door: Door, spoil: Callable[[str], str]) -> None:
    answer = await door.post(message(), spoil(sign(SECRET, message())))

    assert (answer.status, answer.body["code"]) == (401, "UNAUTHORIZED")
    assert not await door.events()
    assert not await door.letters()


@pytest.mark.parametrize("other", [sign(b"stranger", message()), sign(SECRET, message())])
@pytest.mark.parametrize("first", [True, False])
async def test_of_two_signatures_neither_counts(door: Door, other: str, *, first: bool) -> None:
    good = sign(SECRET, message())

    assert (await door.post(message(), *((good, other) if first else (other, good)))).status == 401
    assert not await door.events()


async def test_a_signature_holds_for_the_very_bytes_only(door: Door) -> None:
    body = orjson.dumps(aaa(item(text="naïve 😀")))
    signature = sign(SECRET, body)
    altered = [bytes([*body[:at], body[at] ^ 1 << at % 8, *body[at + 1 :]]) for at in range(0, len(body), 7)]
    rewritten = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2)

    for changed in (*altered, rewritten, body + b"\n", body[:-1], b""):
        assert (await door.post(changed, signature)).status == 401
    assert not await door.events()
    assert not await door.letters()
    assert (await door.post(body, signature)).status == 200


async def test_an_unsigned_body_is_not_even_parsed(door: Door) -> None:
    assert (await door.post(b"{")).status == 401
    assert not await door.letters()


# --- bodies


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"hello",
        b"\xff\xfe{}",
        b"[]",
        b"[1,2]",
        b"5",
        b'"for_user_id"',
        b"null",
        b"{}",
        b'{"for_user_id":"100"}',
        b'{"users":{}}',
        b'{"data":{}}',
        b'{"data":[1]}',
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"for_user_id":"100","x_events":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        b'{"for_user_id":"100","x_events":[NaN]}',
        b'{"for_user_id":"100","x_events":[1e999]}',
        b'{"for_user_id":"100","x_events":[1' + b"0" * 400 + b"]}",
        b'{"for_user_id":"100","x_events":["\\ud800"]}',
        b'{"for_user_id":"100","x_events":["\xed\xa0\x80"]}',
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_a_signed_body_that_is_no_envelope_is_400_and_one_dead_letter(door: Door, body: bytes) -> None:
    answer = await door.send(body)

    assert (answer.status, answer.body["code"]) == (400, "VALIDATION_ERROR")
    [letter] = await door.letters()
    assert letter["body"] == body
    assert not await door.events()


async def test_a_call_is_400_even_where_its_dead_letter_can_not_be_written(door: Door) -> None:
    async with failing(
        door.database.client,
        "failCommand",
        failCommands=["insert"],
        namespace=f"{door.database.name}.deadLetters",
        errorCode=8000,
    ):
        assert (await door.send(b"{")).status == 400


@pytest.mark.parametrize("depth", [2, 100, 250, 260, 500, 900, 1000, 1020])
async def test_nesting_of_any_depth_is_kept_or_refused(door: Door, depth: int) -> None:
    body = b'{"for_user_id":"100","x_events":' + b"[" * depth + b"]" * depth + b"}"
    status = (await door.send(body)).status

    assert status in {200, 400}
    assert (len(await door.events()), len(await door.letters())) == ((1, 0) if status == 200 else (0, 1))


@pytest.mark.parametrize("text", ["x" * 900_000, "😀" * 200_000, "\0" * 100_000, "a\0b", "$where", "\ufffe\uffff", ""])
async def test_absurd_texts_are_stored_as_they_came(door: Door, text: str) -> None:
    assert (await door.send(message(text))).status == 200
    [event] = await door.events()
    assert (event["kind"], event["data"]["text"]) == ("message", text)


async def test_of_duplicate_names_one_counts(door: Door) -> None:
    body = b'{"for_user_id":"7","for_user_id":"100","brand_new_events":[1],"brand_new_events":[2]}'
    assert (await door.send(body)).status == 200
    assert [event["forUserId"] for event in await door.events()] == ["100"]


async def test_many_large_events_at_once_are_more_than_one_document_holds_and_are_stored_in_order(door: Door) -> None:
    texts = [chr(ord("a") + number) * 900_000 for number in range(22)]
    answers = await asyncio.gather(*(door.send(message(text, str(9000 + number))) for number, text in enumerate(texts)))

    assert [answer.status for answer in answers] == [200] * len(texts)
    assert sorted(event["data"]["text"][:1] for event in await door.events()) == [text[0] for text in texts]


async def test_one_call_of_more_events_than_a_document_holds_is_stored(door: Door) -> None:
    count = 90_000
    body = b'{"for_user_id":"100","follow_events":[' + b",".join(b"%d" % n for n in range(count)) + b"]}"

    assert len(body) < MIB
    assert (await door.send(body)).status == 200
    documents = await door.documents()
    assert [int(event["data"]["raw"]) for document in documents for event in document["events"]] == list(range(count))
    # Each document is processed in one transaction.
    assert max(len(document["events"]) for document in documents) <= 2000


async def test_a_body_over_the_limit_is_413(door: Door) -> None:
    body = message("x" * 5 * MIB)
    answer = await door.send(body)

    assert (answer.status, answer.body["code"]) == (413, "PAYLOAD_TOO_LARGE")
    assert not await door.events()


async def test_a_body_without_a_length_is_413_once_it_is_over_the_limit(door: Door) -> None:
    body = message("x" * 2 * MIB)

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 64 * 1024):
            yield body[start : start + 64 * 1024]

    assert (await door.post(chunks(), sign(SECRET, body))).status == 413
    assert not await door.events()


async def test_a_body_that_comes_in_chunks_is_taken(door: Door) -> None:
    body = message("in pieces")

    async def chunks() -> AsyncIterator[bytes]:
        for byte in body:
            yield bytes([byte])

    assert (await door.post(chunks(), sign(SECRET, body))).status == 200
    assert [event["data"]["text"] for event in await door.events()] == ["in pieces"]


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "GZIP", "zstd", "gzip, br"])
@pytest.mark.parametrize("valid", [True, False])
async def test_a_compressed_body_is_415_and_never_inflated(door: Door, coding: str, *, valid: bool) -> None:
    bomb = gzip.compress(b"[" * 50 * MIB) if valid else b"no compressed data at all"
    answer = await door.post(bomb, sign(SECRET, bomb), Content_Encoding=coding)

    assert (answer.status, answer.body["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert not await door.letters()


async def test_a_compressed_body_that_is_not_declared_is_no_json(door: Door) -> None:
    assert (await door.send(zlib.compress(message()))).status == 400


async def test_identity_is_no_compression(door: Door) -> None:
    assert (await door.post(message(), sign(SECRET, message()), Content_Encoding="identity")).status == 200


async def test_a_body_that_stops_half_way_is_cut_off(door: Door) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.http.port)
    body = message()
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{HEADER}: {sign(SECRET, body)}\r\n\r\n"
    writer.write(head.encode() + body[:-1])
    async with asyncio.timeout(30):
        answered = await reader.read()
    writer.close()

    assert b" 200 " not in answered
    assert not await door.events()


@pytest.mark.parametrize("rest", [b"", b"no chunk at all\r\n\r\n"])
async def test_a_body_that_breaks_off_is_the_callers_mistake(door: Door, rest: bytes) -> None:
    unreadable, unavailable = REQUESTS.labels("unreadable")._value, REQUESTS.labels("unavailable")._value
    before = unreadable.get(), unavailable.get()
    reader, writer = await asyncio.open_connection("127.0.0.1", door.http.port)
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{{\r\n".encode())
    await door.challenge("crc_token=a")
    writer.write(rest)
    writer.write_eof()
    await eventually(lambda: (unreadable.get(), unavailable.get()) != before)
    writer.close()

    assert (unreadable.get(), unavailable.get()) == (before[0] + 1, before[1])
    assert b" 500 " not in await reader.read()


@pytest.mark.parametrize("declared", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "a"])
async def test_the_declared_type_of_a_signed_body_does_not_matter(door: Door, declared: str) -> None:
    async with door.http.post(
        PATH, data=message(), headers={HEADER: sign(SECRET, message()), "Content-Type": declared}
    ) as response:
        assert response.status == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_another_method_is_405_with_those_that_are_there(door: Door, method: str) -> None:
    answer = await door.post(message(), sign(SECRET, message()), method=method)

    assert (answer.status, answer.body["code"]) == (405, "METHOD_NOT_ALLOWED")
    assert {"GET", "POST"} <= {allowed.strip() for allowed in answer.headers["Allow"].split(",")}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
FAMILIES = st.sampled_from(
    [
        "direct_message_events",
        "follow_events",
        "user_event",
        "tweet_create_events",
        "data",
        "users",
        "replay_job_status",
    ]
)


@given(st.dictionaries(FAMILIES | st.just("for_user_id") | st.text(max_size=10), JSON, max_size=4) | JSON)
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_is_signed_is_kept_or_refused_and_never_breaks_anything(door: Door, payload: object) -> None:
    body = _json(payload)
    before = len(await door.letters())
    answer = await door.send(body)

    assert answer.status in {200, 400}
    assert len(await door.letters()) - before == (answer.status == 400)


def _json(payload: object) -> bytes:
    try:
        return orjson.dumps(payload)
    except TypeError:
        import json

        return json.dumps(payload).encode()


# --- durability


async def test_a_call_is_503_while_the_database_refuses_and_200_afterwards(door: Door) -> None:
    where = f"{door.database.name}.inbox"
    async with failing(door.database.client, "failCommand", failCommands=["insert"], namespace=where, errorCode=8000):
        answers = await asyncio.gather(*(door.send(message(message_id=str(9000 + n))) for n in range(20)))
        assert [answer.status for answer in answers] == [503] * 20
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
        assert {answer.body["code"] for answer in answers} == {"SERVICE_UNAVAILABLE"}
        assert "8000" not in str(answers)
    assert not await door.events()
    assert (await door.send(message())).status == 200
    assert len(await door.events()) == 1


async def test_a_call_whose_insert_is_not_acknowledged_is_never_200(door: Door) -> None:
    where = f"{door.database.name}.inbox"
    error = {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting for replication timed out"}
    async with failing(
        door.database.client, "failCommand", failCommands=["insert"], namespace=where, writeConcernError=error
    ):
        assert (await door.send(message())).status == 503
    assert (await door.send(message())).status == 200


async def test_an_insert_that_hangs_holds_the_answer_back_until_it_is_through(door: Door) -> None:
    async with failing(door.database.client, "hangDuringBatchInsert", nss=f"{door.database.name}.inbox"):
        held = asyncio.create_task(door.send(message(message_id="9002")))
        await _until_inserting(door)
        assert not held.done()
    assert (await held).status == 200
    assert "dm:100:9002" in {event["key"] for event in await door.events()}


async def _until_inserting(door: Door) -> None:
    query = [{"$currentOp": {}}, {"$match": {"ns": f"{door.database.name}.inbox", "op": "insert"}}]
    async with asyncio.timeout(30):
        while not await (await door.database.client.admin.aggregate(query)).to_list():
            await asyncio.sleep(0.01)


async def test_an_insert_that_hangs_too_long_is_503(door: Door) -> None:
    async with failing(door.database.client, "hangDuringBatchInsert", nss=f"{door.database.name}.inbox"):
        assert (await door.send(message())).status == 503
    assert (await door.send(message())).status == 200


async def test_200_is_said_only_after_the_journal_has_it(door: Door) -> None:
    applied = door.database["inbox"].with_options(read_concern=ReadConcern("local"))
    async with failing(door.database.client, "pauseJournalFlusherBeforeFlush"):
        held = asyncio.create_task(door.send(message()))
        # Applied is not durable: it can be read while nothing of it is on disk.
        async with asyncio.timeout(30):
            while await applied.find_one() is None:
                await asyncio.sleep(0.01)
        await door.challenge("crc_token=a")
        assert not held.done()
    assert (await held).status == 200


async def test_a_lost_connection_to_the_database_is_not_a_200(door: Door) -> None:
    async with failing(
        door.database.client,
        "failCommand",
        failCommands=["insert"],
        namespace=f"{door.database.name}.inbox",
        closeConnection=True,
    ):
        assert (await door.send(message())).status == 503
    assert (await door.send(message())).status == 200


# --- the challenge


@pytest.mark.parametrize("path", [PATH, VERIFY_PATH])
@pytest.mark.parametrize("more", ["", "&nonce=abc123", "&nonce=x&other=%00"])
async def test_the_challenge_is_answered_at_both_addresses(door: Door, path: str, more: str) -> None:
    answer = await door.challenge(f"crc_token=Ab3-_%3D%2F%2B{more}", path)

    assert answer.status == 200
    assert answer.body == {"response_token": sign(SECRET, b"Ab3-_=/+")}
    assert answer.headers["Content-Type"].startswith("application/json")


@pytest.mark.parametrize("path", [PATH, VERIFY_PATH])
@pytest.mark.parametrize(
    "query",
    [
        "",
        "crc_token=",
        "crc=abc",
        "CRC_TOKEN=abc",
        "crc_token=a&crc_token=a",
        "crc_token=" + "a" * 257,
        "crc_token=a%20b",
        "crc_token=a%0A",
        "crc_token=a%00",
        "crc_token=%C3%A9",
        "crc_token=%ff",
        "crc_token=a.b",
        "crc_token=%7B%22for_user_id%22%3A%221%22%7D",
        "crc_token=%5B%5D",
        "crc_token=a+b",
    ],
)
async def test_a_challenge_that_is_none_is_400_and_not_signed(door: Door, path: str, query: str) -> None:
    answer = await door.challenge(query, path)

    assert (answer.status, answer.body["code"]) == (400, "VALIDATION_ERROR")
    assert "sha256=" not in str(answer.body)


async def test_the_challenge_gives_nobody_a_signature_for_a_body(door: Door) -> None:
    body = message("forged")
    answer = await door.challenge("crc_token=" + body.decode().replace('"', "%22").replace(" ", "%20"))

    assert answer.status == 400
    assert sign(SECRET, body) not in str(answer.body)


async def test_the_largest_challenge_is_answered(door: Door) -> None:
    assert (await door.challenge("crc_token=" + "a" * 256)).body == {"response_token": sign(SECRET, b"a" * 256)}


def test_the_lanes_of_the_inbox_follow_the_conversation() -> None:
    from datetime import UTC, datetime

    from domain.x_normalise import normalise

    now = datetime(2026, 11, 2, tzinfo=UTC)
    both_ways = normalise(aaa(item("1", "200", "100"), item("2", "100", "200")), now)
    assert len({lane_of_event(event) for event in both_ways}) == 1
