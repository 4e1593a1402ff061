"""The only module that names a driver class.

The program runs on PyMongo's asynchronous client. With `MKTX_MONGODB_DRIVER=motor` a Motor client does the same
work: the methods that `storage` calls have the same names and shapes in both.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, TypeAlias, cast

import pymongo
from bson.codec_options import CodecOptions
from bson.timestamp import Timestamp
from pymongo import AsyncMongoClient, ReadPreference
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from config.settings import Settings
from domain.errors import Unavailable
from storage.command_metrics import CommandMetrics

Document: TypeAlias = dict[str, Any]
Client: TypeAlias = AsyncMongoClient[Document]
Database: TypeAlias = AsyncDatabase[Document]
Collection: TypeAlias = AsyncCollection[Document]
Session: TypeAlias = AsyncClientSession
ChangeStream: TypeAlias = AsyncChangeStream[Document]

#: Every write is acknowledged by a majority, from its journal: what was answered survives the loss of any one node.
DURABLE = WriteConcern(w="majority", j=True)
#: Reads see only what can't be rolled back.
COMMITTED = ReadConcern("majority")

_SELECTION_TIMEOUT_MS = 5_000
_CLOSE_TIMEOUT_S = 2.0


def open_client(settings: Settings) -> Client:
    """Return a client for this process's event loop; nothing is connected yet."""
    options: Document = {
        "tz_aware": True,
        "serverSelectionTimeoutMS": _SELECTION_TIMEOUT_MS,
        "timeoutMS": int(settings.mongodb_timeout_s * 1000),
        "maxPoolSize": 32,
        "appname": "mktx",
        "retryWrites": True,
        "event_listeners": [CommandMetrics()],
    }
    uri = settings.mongodb_uri.get_secret_value()
    if settings.mongodb_driver == "motor":
        from motor.motor_asyncio import AsyncIOMotorClient  # noqa: PLC0415  # only where the setting asks for it

        return cast(Client, AsyncIOMotorClient(uri, **options))
    return AsyncMongoClient(uri, **options)


def database_of(client: Client, settings: Settings) -> Database:
    """Return the program's database with durable writes and committed reads."""
    return client.get_database(
        settings.mongodb_database,
        codec_options=CodecOptions(tz_aware=True),
        write_concern=DURABLE,
        read_concern=COMMITTED,
        read_preference=ReadPreference.PRIMARY,
    )


@contextlib.asynccontextmanager
async def session_of(client: Client) -> AsyncIterator[Session]:
    """Open a session for transactions."""
    opened: object = client.start_session()
    session = cast(Session, await opened if inspect.isawaitable(opened) else opened)  # Motor's is awaited
    async with session:
        yield session


@contextlib.asynccontextmanager
async def snapshot_of(client: Client) -> AsyncIterator[Session]:
    """Open a session in which all reads see one moment, for as long as the database keeps its past; it can't write."""
    async with client.start_session(snapshot=True) as session:
        yield session


@contextlib.contextmanager
def unhurried(seconds: float) -> Iterator[None]:
    """Let each operation within take as long as that, whatever the client's own timeout."""
    with pymongo.timeout(seconds):
        yield


async def begin(session: Session, read_concern: ReadConcern | None = None) -> None:
    """Begin a transaction with durable writes."""
    begun: object = session.start_transaction(read_concern=read_concern, write_concern=DURABLE)
    if inspect.isawaitable(begun):  # Motor's is not
        await begun


async def aggregated(
    collection: Collection, pipeline: Sequence[Document], session: Session | None = None
) -> list[Document]:
    """Return what a pipeline makes of a collection."""
    opened: object = collection.aggregate(pipeline, session=session)
    cursor = cast(AsyncIterator[Document], await opened if inspect.isawaitable(opened) else opened)
    return [document async for document in cursor]


@contextlib.asynccontextmanager
async def watching(
    database: Database, pipeline: Sequence[Document], start: Timestamp, wait_ms: int, batch_size: int
) -> AsyncIterator[ChangeStream]:
    """Open a stream of the database's changes from a cluster time on.

    The server waits `wait_ms` for a change before it says that there is none.
    """
    opened: object = database.watch(
        list(pipeline), start_at_operation_time=start, max_await_time_ms=wait_ms, batch_size=batch_size
    )
    stream = cast(ChangeStream, await opened if inspect.isawaitable(opened) else opened)  # Motor's is not awaited
    async with stream:
        yield stream


async def check(database: Database) -> None:
    """Ask the database for a sign of life.

    Raises:
        Unavailable: when it does not answer as a primary.
    """
    try:
        await database.command("ping")
    except PyMongoError as error:
        raise Unavailable("The database is not to be reached", retry_after_s=2) from error


async def close_client(client: Client) -> None:
    """Close a client, without waiting for a server that has gone before it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            closing: object = client.close()
            if inspect.isawaitable(closing):  # Motor's is not
                await closing
