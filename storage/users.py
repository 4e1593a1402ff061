from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypedDict, cast

from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError
from pymongo.read_concern import ReadConcern

from domain.errors import Conflict
from storage.client import Database, Document, Session, begin, session_of
from storage.paging import Slice, find_page

_SNAPSHOT = ReadConcern("snapshot")
_ATTEMPTS = 10
_TRANSIENT = "TransientTransactionError"
_UNKNOWN_COMMIT = "UnknownTransactionCommitResult"
_OWNER = "owner"
_ACTIVE = "active"


class UserDocument(TypedDict):
    """A person who may log in."""

    _id: str
    merchantId: str
    email: str
    passwordHash: str
    name: str
    roles: list[str]
    status: str
    createdAt: datetime


@dataclass(frozen=True, slots=True)
class UserFilter:
    """Which people are asked for: all conditions hold."""

    status: str | None = None
    role: str | None = None


class Users:
    """People who may log in. E-mail addresses are unique over all merchants and kept in lower case."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._collection = database["users"]

    async def insert(self, user: UserDocument) -> None:
        """Add a person.

        Raises:
            Conflict: when the e-mail address is taken.
        """
        try:
            await self._collection.insert_one({**user, "email": user["email"].lower()})
        except DuplicateKeyError:
            raise Conflict("A user with this e-mail address exists") from None

    async def by_email(self, email: str) -> UserDocument | None:
        """Return the person who logs in with this address, of whichever merchant; only the login may ask."""
        return cast("UserDocument | None", await self._collection.find_one({"email": email.lower()}))

    async def get(self, merchant_id: str, user_id: str) -> UserDocument | None:
        """Return a person of this merchant."""
        return cast("UserDocument | None", await self._collection.find_one({"_id": user_id, "merchantId": merchant_id}))

    async def is_active(self, merchant_id: str, user_id: str) -> bool:
        """Whether this merchant has such a person, who may work."""
        query = {"_id": user_id, "merchantId": merchant_id, "status": "active"}
        return await self._collection.count_documents(query, limit=1) == 1

    async def missing(self, merchant_id: str, user_ids: Collection[str]) -> set[str]:
        """Return those of several ids that are no people of this merchant who may work."""
        query = {"_id": {"$in": list(user_ids)}, "merchantId": merchant_id, "status": _ACTIVE}
        return set(user_ids) - {each["_id"] async for each in self._collection.find(query, {"_id": 1})}

    async def replace_password_hash(self, merchant_id: str, user_id: str, seen: str, password_hash: str) -> bool:
        """Replace the hash of a person's password that is as `seen`; answers whether it was."""
        query = {"_id": user_id, "merchantId": merchant_id, "passwordHash": seen}
        result = await self._collection.update_one(query, {"$set": {"passwordHash": password_hash}})
        return result.matched_count == 1

    async def set_password_hash(self, merchant_id: str, user_id: str, password_hash: str) -> None:
        """Replace the hash of a person's password."""
        await self._collection.update_one(
            {"_id": user_id, "merchantId": merchant_id}, {"$set": {"passwordHash": password_hash}}
        )

    async def page(self, merchant_id: str, wanted: UserFilter, part: Slice) -> tuple[list[UserDocument], int]:
        """Return a part of the merchant's people, who was there first first, and how many there are."""
        query: Document = {"merchantId": merchant_id}
        if wanted.status is not None:
            query["status"] = wanted.status
        if wanted.role is not None:
            query["roles"] = wanted.role
        documents, total = await find_page(self._collection, query, [("_id", ASCENDING)], part)
        return cast("list[UserDocument]", documents), total

    async def change(self, merchant_id: str, seen: UserDocument, changes: Mapping[str, object]) -> UserDocument:
        """Change a person who is as `seen`, and return them as they are then.

        Raises:
            Conflict: when roles or status are others by now, or no active owner would be left.
        """
        if not changes:
            return seen
        after = {**seen, **changes}
        if _is_active_owner(seen) and not _is_active_owner(after):
            return await self._take_owner_away(merchant_id, seen, changes)
        return await self._apply(merchant_id, seen, changes, None)

    async def _apply(
        self, merchant_id: str, seen: UserDocument, changes: Mapping[str, object], session: Session | None
    ) -> UserDocument:
        # What the caller may do was decided by the roles and the status that were seen.
        query = {"_id": seen["_id"], "merchantId": merchant_id, "roles": seen["roles"], "status": seen["status"]}
        changed = await self._collection.find_one_and_update(
            query, {"$set": dict(changes)}, return_document=ReturnDocument.AFTER, session=session
        )
        if changed is None:
            raise Conflict("The user was changed by somebody else meanwhile")
        return cast("UserDocument", changed)

    async def _take_owner_away(
        self, merchant_id: str, seen: UserDocument, changes: Mapping[str, object]
    ) -> UserDocument:
        async with session_of(self._database.client) as session:
            for attempt in range(_ATTEMPTS):
                try:
                    return await self._try_to_take_owner_away(session, merchant_id, seen, changes)
                except PyMongoError as error:
                    if session.in_transaction:
                        await session.abort_transaction()
                    if not error.has_error_label(_TRANSIENT) or attempt == _ATTEMPTS - 1:
                        raise
                    await asyncio.sleep(0.005 * 2**attempt)
        raise Conflict("The merchant's owners are being changed by somebody else")

    async def _try_to_take_owner_away(
        self, session: Session, merchant_id: str, seen: UserDocument, changes: Mapping[str, object]
    ) -> UserDocument:
        await begin(session, _SNAPSHOT)
        # Two owners who disable each other at once write different documents. Through this one they meet, so that the
        # later one counts again.
        await self._database["counters"].update_one(
            {"_id": f"owners|{merchant_id}"}, {"$inc": {"value": 1}}, upsert=True, session=session
        )
        try:
            changed = await self._apply(merchant_id, seen, changes, session)
            await self._check_has_owner(merchant_id, session)
        except Conflict:
            await session.abort_transaction()
            raise
        await _commit(session)
        return changed

    async def _check_has_owner(self, merchant_id: str, session: Session) -> None:
        owners = {"merchantId": merchant_id, "roles": _OWNER, "status": _ACTIVE}
        if await self._collection.count_documents(owners, limit=1, session=session) == 0:
            raise Conflict("A merchant keeps at least one active owner")


def _is_active_owner(user: Mapping[str, object]) -> bool:
    roles = user["roles"]
    return user["status"] == _ACTIVE and isinstance(roles, list) and _OWNER in roles


async def _commit(session: Session) -> None:
    for attempt in range(_ATTEMPTS):
        try:
            await session.commit_transaction()
        except PyMongoError as error:
            if not error.has_error_label(_UNKNOWN_COMMIT) or attempt == _ATTEMPTS - 1:
                raise
        else:
            return
