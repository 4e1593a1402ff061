"""What `run.py doctor` looks at: the settings as the program would have them, its database, whether it runs."""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from pydantic import SecretStr
from pymongo.errors import PyMongoError

from actors.clients.x_transport import open_session
from config.settings import Settings
from domain.clock import Clock, SystemClock
from program.generated import resolve
from storage.client import Database, close_client, database_of, open_client
from storage.embedded import EmbeddedMongo, EmbeddedMongoFailed


@dataclass(frozen=True, slots=True)
class Installation:
    """One installation.

    `given` are the settings as they are set, `settings` with the secrets that an earlier start has generated. `running`
    says whether a program uses the data directory. Without a `database`, `no_database` says why.
    """

    given: Settings
    settings: Settings
    session: aiohttp.ClientSession
    clock: Clock
    running: bool
    database: Database | None
    no_database: str = ""


@asynccontextmanager
async def examining(settings: Settings) -> AsyncIterator[Installation]:
    """Open what is to be looked at, and close it afterwards.

    Without a database address the embedded server is started, unless a running program has it already: then that is the
    one that is looked at.
    """
    async with AsyncExitStack() as stack:
        running = stack.enter_context(_locking(settings.data_dir))
        resolved = _resolved(settings)
        session = await stack.enter_async_context(open_session())
        database, no_database = None, ""
        try:
            if not settings.mongodb_uri.get_secret_value():
                uri = _running_uri(settings.data_dir) if running else await _start_embedded(settings, stack)
                resolved = resolved.model_copy(update={"mongodb_uri": SecretStr(uri)})
            client = open_client(resolved)
            stack.push_async_callback(close_client, client)
            database = database_of(client, resolved)
        except EmbeddedMongoFailed as error:
            no_database = str(error)
        except OSError as error:
            no_database = f"the embedded MongoDB can't use {settings.data_dir} ({error.strerror})"
        except (PyMongoError, ValueError) as error:
            no_database = f"MKTX_MONGODB_URI can't be read ({type(error).__name__})"
        yield Installation(settings, resolved, session, SystemClock(), running, database, no_database)


@contextmanager
def _locking(data_dir: Path) -> Iterator[bool]:
    """Keep programs from starting on the data meanwhile; yields whether one uses it already."""
    with ExitStack() as stack:
        try:
            handle = stack.enter_context((data_dir / "lock").open("rb"))
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            running = True
        except OSError:
            # There is no lock, or none that we may read: the check of the data directory says so.
            running = False
        else:
            running = False
        yield running


def _resolved(settings: Settings) -> Settings:
    """Return the settings with what was generated; nothing is generated here."""
    try:
        return resolve(settings).settings if (settings.data_dir / "generated.json").exists() else settings
    except (OSError, ValueError):
        # Not to be read: what needs the encryption key says that there is none.
        return settings


async def _start_embedded(settings: Settings, stack: AsyncExitStack) -> str:
    """Start the embedded server on the data, or on none where the program was never started; returns its address."""
    folder = settings.data_dir
    if not (folder / "mongodb").exists():
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mktx-doctor-")))
    mongo = EmbeddedMongo(folder, cache_mb=settings.mongodb_cache_mb)
    stack.push_async_callback(mongo.stop)
    await mongo.start()
    return mongo.uri


def _running_uri(data_dir: Path) -> str:
    """Return the address of the embedded server of a running program, which its process shows.

    Raises:
        EmbeddedMongoFailed: when it is not to be found.
    """
    try:
        pid = int((data_dir / "mongodb" / "mongod.lock").read_text().strip() or "0")
        command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except (OSError, ValueError):
        command = []
    ports = [part.removeprefix("--port=") for part in command if part.startswith("--port=")]
    if not ports:
        raise EmbeddedMongoFailed("a program uses the data directory, but its embedded MongoDB does not run")
    return f"mongodb://127.0.0.1:{ports[0]}/?directConnection=true"
