from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict, cast

from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from domain.contact_names import fold
from domain.errors import Conflict, InvalidRequest
from storage.client import Database, Document, Session, session_of
from storage.flow_documents import FlowDocument, FlowStatus, FlowVersionDocument, flow_version_id
from storage.paging import Slice, find_page
from storage.rollup_remains import remove_executions

_NEWEST_FIRST = [("_id", DESCENDING)]
#: Executions that are removed in one step.
_BATCH = 1_000


class FlowFields(TypedDict):
    """What people say about a flow."""

    name: str
    accountId: str | None
    trigger: dict[str, Any]
    nodes: list[dict[str, Any]]
    connections: list[dict[str, Any]]
    reEntry: str


@dataclass(frozen=True, slots=True)
class FlowFilter:
    """Which flows are asked for: all conditions hold; `search` is a part of the name as it stands."""

    status: FlowStatus | None = None
    search: str = ""


class Flows:
    """The flows of a merchant, as people make, change, activate and delete them, and the versions that are run."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._collection = database["flows"]
        self._versions = database["flowVersions"]
        self._removals = database["flowRemovals"]

    async def page(self, merchant_id: str, wanted: FlowFilter, part: Slice) -> tuple[list[FlowDocument], int]:
        """Return a part of the flows, newest first, and how many there are."""
        query: Document = {"merchantId": merchant_id}
        if wanted.status is not None:
            query["status"] = wanted.status
        if wanted.search:
            # A pattern can't hold a null character as it is.
            query["foldedName"] = {"$regex": re.escape(fold(wanted.search)).replace("\0", r"\x00")}
        documents, total = await find_page(self._collection, query, _NEWEST_FIRST, part)
        return cast("list[FlowDocument]", documents), total

    async def get(self, merchant_id: str, flow_id: str) -> FlowDocument | None:
        """Return one flow of the merchant."""
        query = {"_id": flow_id, "merchantId": merchant_id}
        return cast("FlowDocument | None", await self._collection.find_one(query))

    async def missing(self, merchant_id: str, flow_ids: Collection[str]) -> set[str]:
        """Return those of several ids that are no flows of the merchant."""
        query = {"_id": {"$in": list(flow_ids)}, "merchantId": merchant_id}
        return set(flow_ids) - {each["_id"] async for each in self._collection.find(query, {"_id": 1})}

    async def add(self, merchant_id: str, flow_id: str, fields: FlowFields, now: datetime) -> FlowDocument:
        """Store a draft and return it; one with this very id is there already where a request is repeated."""
        document: Document = {
            "_id": flow_id,
            "merchantId": merchant_id,
            **fields,
            "foldedName": fold(fields["name"]),
            "status": "draft",
            "version": 1,
            "createdAt": now,
            "updatedAt": now,
            "activatedAt": None,
        }
        try:
            await self._collection.insert_one(document)
        except DuplicateKeyError:
            same = await self.get(merchant_id, flow_id)
            if same is None:
                raise
            return same
        return cast("FlowDocument", document)

    async def change(self, known: FlowDocument, fields: FlowFields, now: datetime) -> FlowDocument:
        """Change a flow as it was read, and return it; its version is another one where it would run otherwise.

        Raises:
            InvalidRequest: while it is active.
            Conflict: when somebody else was faster.
        """
        self.check_inactive(known, "update")
        runs_otherwise = _run(fields) != _run(known)
        return await self._moved(
            known,
            {
                "$set": {**fields, "foldedName": fold(fields["name"]), "updatedAt": now},
                "$inc": {"version": int(runs_otherwise)},
            },
        )

    async def activate(self, known: FlowDocument, now: datetime) -> FlowDocument:
        """Activate a flow as it was read, and return it; what its executions will run is kept as this version.

        Raises:
            Conflict: when somebody else was faster.
        """
        version: FlowVersionDocument = {
            "_id": flow_version_id(known["_id"], known["version"]),
            "merchantId": known["merchantId"],
            "flowId": known["_id"],
            "version": known["version"],
            **_run(known),
        }

        async def work(session: Session) -> FlowDocument:
            update = {"$set": {"status": "active", "activatedAt": now, "updatedAt": now}}
            changed = await self._moved(known, update, session)
            # One that was active before is there already, and the same.
            await self._versions.update_one(
                {"_id": version["_id"]}, {"$setOnInsert": version}, upsert=True, session=session
            )
            return changed

        async with session_of(self._database.client) as session:
            return await session.with_transaction(work)

    async def deactivate(self, known: FlowDocument, now: datetime) -> FlowDocument:
        """Deactivate a flow as it was read, and return it: nothing starts it any more.

        Raises:
            Conflict: when somebody else was faster.
        """
        return await self._moved(known, {"$set": {"status": "inactive", "updatedAt": now}})

    async def remove(self, known: FlowDocument) -> None:
        """Delete a flow as it was read, with its versions: an execution that has none is over.

        Its counters stay, which name nobody. Its executions are left to `remove_executions`: they may be very many.

        Raises:
            InvalidRequest: while it is active.
            Conflict: when somebody else was faster.
        """
        self.check_inactive(known, "delete")
        flow_id, merchant_id = known["_id"], known["merchantId"]

        async def work(session: Session) -> bool:
            removed = await self._collection.delete_one(_as_known(known), session=session)
            if removed.deleted_count != 1:
                return False
            # Ids begin with the flow's, and end with a number.
            of_it = {"$gte": f"{flow_id}|", "$lt": f"{flow_id}|~"}
            await self._versions.delete_many({"_id": of_it, "merchantId": merchant_id}, session=session)
            await self._removals.insert_one({"_id": flow_id, "merchantId": merchant_id}, session=session)
            return True

        async with session_of(self._database.client) as session:
            if not await session.with_transaction(work):
                raise _was_faster()

    async def remove_executions(self, merchant_id: str, flow_id: str) -> None:
        """Delete the executions of a flow that is gone; may be cut off and called again."""
        executions = self._database["flowExecutions"]
        query = {"merchantId": merchant_id, "flowId": flow_id}
        while found := await executions.find(query, {"_id": 1}).limit(_BATCH).to_list(None):
            await remove_executions(self._database, [each["_id"] for each in found])
        await self._removals.delete_one({"_id": flow_id})

    async def complete_removals(self) -> None:
        """Delete what is left of flows that were deleted by a process that died meanwhile."""
        async for removal in self._removals.find():
            await self.remove_executions(removal["merchantId"], removal["_id"])

    @staticmethod
    def check_inactive(known: FlowDocument, what: str) -> None:
        """Check that something may be done with a flow that can't be done while it is active.

        Raises:
            InvalidRequest: while it is active.
        """
        if known["status"] == "active":
            raise InvalidRequest(f"Cannot {what} active flows (deactivate first)")

    async def _moved(self, known: FlowDocument, update: Document, session: Session | None = None) -> FlowDocument:
        changed = await self._collection.find_one_and_update(
            _as_known(known), update, return_document=ReturnDocument.AFTER, session=session
        )
        if changed is None:
            raise _was_faster()
        return cast("FlowDocument", changed)


class _Run(TypedDict):
    """What executions go by; it is what a version keeps."""

    accountId: str | None
    trigger: dict[str, Any]
    nodes: list[dict[str, Any]]
    connections: list[dict[str, Any]]
    reEntry: str


def _run(flow: FlowFields | FlowDocument) -> _Run:
    return {
        "accountId": flow["accountId"],
        "trigger": flow["trigger"],
        "nodes": flow["nodes"],
        "connections": flow["connections"],
        "reEntry": flow["reEntry"],
    }


def _as_known(known: Mapping[str, Any]) -> Document:
    # Not every change makes another version: the time of the last change tells the others.
    return {name: known[name] for name in ("_id", "merchantId", "status", "version", "updatedAt")}


def _was_faster() -> Conflict:
    return Conflict("The flow was changed by somebody else")
