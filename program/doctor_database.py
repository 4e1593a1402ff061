"""The database: is it there, of the right kind, does it keep what it is given, and does our key open what is in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from pymongo import IndexModel
from pymongo.errors import PyMongoError

from domain.ids import new_id
from program.doctor_finding import Check, Finding, failed, ok, warning
from program.doctor_installation import Installation
from storage.accounts import Accounts
from storage.client import Database
from storage.dead_letters import DeadLetters
from storage.encryption import CannotOpen, WrongKey, key_ring
from storage.indexes import INDEXES

_OLDEST, _NEWEST = 6, 8
_PROBES = "doctorProbes"
_START_IT = "start MongoDB, or correct MKTX_MONGODB_URI; the log of the database may say more"

Look = Callable[[Installation, Database], Awaitable[Finding]]


def _with_database(look: Look) -> Callable[[Installation], Awaitable[Finding]]:
    """Return the check, which says so where the database is not to be reached."""

    async def checked(installation: Installation) -> Finding:
        if installation.database is None:
            return failed(installation.no_database, "see above, or set MKTX_MONGODB_URI")
        try:
            return await look(installation, installation.database)
        except PyMongoError as error:
            return failed(f"is not to be reached ({type(error).__name__})", _START_IT)

    return checked


async def server(_: Installation, database: Database) -> Finding:
    """Look whether it is a MongoDB 6, 7 or 8."""
    version = str((await database.client.admin.command("buildInfo"))["version"])
    major = int(version.partition(".")[0])
    if major < _OLDEST:
        return failed(f"MongoDB {version} is too old", "use MongoDB 6, 7 or 8")
    if major > _NEWEST:
        return warning(f"MongoDB {version} is newer than what was tried", "use MongoDB 6, 7 or 8")
    return ok(f"MongoDB {version}")


async def replica_set(_: Installation, database: Database) -> Finding:
    """Look whether it is a replica set or a sharded cluster: others have no transactions."""
    hello = await database.client.admin.command("hello")
    if hello.get("msg") == "isdbgrid":
        return ok("a sharded cluster")
    if "setName" not in hello:
        return failed("a single server without transactions", "run it as a replica set, of one node at least")
    if not hello.get("isWritablePrimary"):
        return failed("what was reached takes no writes", "name all nodes and the replica set in MKTX_MONGODB_URI")
    return ok(f"replica set of {len(hello.get('hosts', []))}")


async def write(_: Installation, database: Database) -> Finding:
    """Look whether a write is acknowledged by a majority, from its journal."""
    probes = database[_PROBES]
    probe = new_id()
    await probes.insert_one({"_id": probe})
    found = await probes.find_one({"_id": probe})
    await probes.drop()
    if found is None:
        return failed("a write that was acknowledged can't be read", "see the log of the database")
    return ok("a majority acknowledges writes")


async def indexes(_: Installation, database: Database) -> Finding:
    """Look whether every index is there; uniqueness, and so that nothing is stored twice, rests on them."""
    missing: list[str] = []
    for name, wanted in INDEXES.items():
        present = set((await database[name].index_information()).keys())
        missing += [f"{name}.{index}" for index in map(_name, wanted) if index not in present]
    total = sum(map(len, INDEXES.values()))
    if len(missing) == total:
        return ok("none yet; they are made at the first start")
    if missing:
        return warning(f"missing: {', '.join(sorted(missing))}", "start the program: it makes them")
    return ok(f"all {total}")


def _name(index: IndexModel) -> str:
    return str(index.document["name"])


async def encryption_key(installation: Installation, database: Database) -> Finding:
    """Look whether the key opens the tokens of every connected account."""
    accounts = [a async for a in database["accounts"].find({"connected": True}, {"merchantId": 1, "username": 1})]
    if not installation.settings.encryption_key.get_secret_value():
        if accounts:
            return failed(
                f"not set, and {len(accounts)} accounts have stored tokens",
                "set MKTX_ENCRYPTION_KEY to the key that they were stored with",
            )
        return ok("is generated at the first start")
    try:
        stored = Accounts(database, key_ring(installation.settings))
    except WrongKey as error:
        return failed(str(error), "set it to base64 of 32 bytes")
    closed = []
    for account in accounts:
        try:
            await stored.tokens(account["merchantId"], account["_id"])
        except CannotOpen:
            closed.append(account["username"])
    if closed:
        return failed(
            f"does not open the tokens of {', '.join(sorted(closed))}",
            "add the former key to MKTX_ENCRYPTION_KEYS_OLD, or connect the accounts again",
        )
    return ok(f"opens the tokens of {len(accounts)} accounts")


async def dead_letters(_: Installation, database: Database) -> Finding:
    """Look how much was put aside: what waits for its account, and what could not be processed."""
    kept = DeadLetters(database)
    waiting, broken = await kept.waiting(), await kept.broken()
    found = f"{waiting} events of accounts that nobody has connected, {broken} documents that can't be processed"
    if broken:
        return warning(found, "look into deadLetters: `reason` says what is wrong")
    if waiting:
        return warning(found, "connect the accounts, which processes their last days, or unsubscribe them on X")
    return ok("none")


CHECKS = (
    Check("database", _with_database(server)),
    Check("replica set", _with_database(replica_set)),
    Check("durable write", _with_database(write)),
    Check("indexes", _with_database(indexes)),
    Check("dead letters", _with_database(dead_letters)),
    Check("encryption key", _with_database(encryption_key)),
)
