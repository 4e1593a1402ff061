"""Look-ups that merchants let models ask for; their secret headers are encrypted, and opened for a call alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TypedDict, cast

from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from domain.dialogue_tools import MOST_TOOLS, Method, Parameter, ParameterType, Tool
from domain.errors import Conflict
from storage.client import Database, Document
from storage.encryption import KeyRing, Place

_COLLECTION = "aiTools"


class ParameterDocument(TypedDict):
    """A value that the model gives."""

    name: str
    type: ParameterType
    description: str
    required: bool
    pattern: str | None


class HeaderDocument(TypedDict):
    """A header that goes with each call; its value is sealed."""

    name: str
    sealed: str


class ToolDocument(TypedDict):
    """A look-up; `name` is given once a merchant."""

    _id: str
    merchantId: str
    name: str
    description: str
    url: str
    host: str
    method: Method
    parameters: list[ParameterDocument]
    headers: list[HeaderDocument]
    createdAt: datetime
    updatedAt: datetime


class AiTools:
    """The look-ups of all merchants."""

    def __init__(self, database: Database, ring: KeyRing) -> None:
        self._collection = database[_COLLECTION]
        self._ring = ring

    async def all(self, merchant_id: str) -> list[ToolDocument]:
        """Return the merchant's look-ups by name; there are never many."""
        found = self._collection.find({"merchantId": merchant_id}).sort([("name", ASCENDING)]).limit(MOST_TOOLS)
        return cast("list[ToolDocument]", [each async for each in found])

    async def get(self, merchant_id: str, tool_id: str) -> ToolDocument | None:
        """Return one look-up of the merchant."""
        return cast("ToolDocument | None", await self._collection.find_one({"_id": tool_id, "merchantId": merchant_id}))

    async def add(self, merchant_id: str, tool: Tool, headers: Mapping[str, str], now: datetime) -> ToolDocument:
        """Store a look-up under its id, and return it; one with this very id is there where a request is repeated.

        Raises:
            Conflict: when the merchant has another one of that name, or as many as there may be.
        """
        others = {"merchantId": merchant_id, "_id": {"$ne": tool.id}}
        if await self._collection.count_documents(others, limit=MOST_TOOLS) >= MOST_TOOLS:
            raise Conflict(f"There are {MOST_TOOLS} tools already")
        document: Document = {
            "_id": tool.id,
            "merchantId": merchant_id,
            **_fields(tool),
            "headers": self._sealed(tool.id, headers),
            "createdAt": now,
            "updatedAt": now,
        }
        try:
            await self._collection.insert_one(document)
        except DuplicateKeyError:
            same = await self.get(merchant_id, tool.id)
            if same is None:
                raise _name_taken() from None
            return same
        return cast("ToolDocument", document)

    async def change(
        self, merchant_id: str, tool: Tool, headers: Mapping[str, str] | None, now: datetime
    ) -> ToolDocument | None:
        """Replace a look-up and return it; nothing where it is gone. Without `headers` those that it has stay.

        Headers go where the look-up leads to another host: a secret is for the host that it was given for.

        Raises:
            Conflict: when the merchant has another one of that name.
        """
        fields = _fields(tool) | {"updatedAt": now}
        update: list[Document] = [{"$set": {name: {"$literal": value} for name, value in fields.items()}}]
        if headers is not None:
            update[0]["$set"]["headers"] = {"$literal": self._sealed(tool.id, headers)}
        else:
            stays = {"$eq": ["$host", {"$literal": tool.host}]}
            update.insert(0, {"$set": {"headers": {"$cond": [stays, "$headers", []]}}})
        query = {"_id": tool.id, "merchantId": merchant_id}
        try:
            changed = await self._collection.find_one_and_update(query, update, return_document=ReturnDocument.AFTER)
        except DuplicateKeyError:
            raise _name_taken() from None
        return cast("ToolDocument | None", changed)

    async def remove(self, merchant_id: str, tool_id: str) -> bool:
        """Delete a look-up; answers whether the merchant had it."""
        result = await self._collection.delete_one({"_id": tool_id, "merchantId": merchant_id})
        return result.deleted_count == 1

    async def offered(self, merchant_id: str) -> list[Tool]:
        """Return the look-ups that the merchant's models may ask for, without their secrets."""
        return [tool_of(document) for document in await self.all(merchant_id)]

    async def headers(self, merchant_id: str, tool_id: str, host: str) -> dict[str, str] | None:
        """Return the headers of a look-up in the clear; nothing where it is gone, or leads to another host.

        Raises:
            CannotOpen: when one was sealed with a key that is not there any more.
        """
        document = await self.get(merchant_id, tool_id)
        if document is None or document["host"] != host:
            return None
        headers = document["headers"]
        return {each["name"]: self._ring.open(each["sealed"], _place(tool_id, each["name"])) for each in headers}

    def _sealed(self, tool_id: str, headers: Mapping[str, str]) -> list[HeaderDocument]:
        return [
            HeaderDocument(name=name, sealed=self._ring.seal(value, _place(tool_id, name)))
            for name, value in headers.items()
        ]


def tool_of(document: ToolDocument) -> Tool:
    """Return a look-up as dialogues use it."""
    return Tool(
        id=document["_id"],
        name=document["name"],
        description=document["description"],
        url=document["url"],
        method=document["method"],
        parameters=tuple(Parameter(**each) for each in document["parameters"]),
        header_names=tuple(each["name"] for each in document["headers"]),
    )


def _fields(tool: Tool) -> dict[str, object]:
    return {
        "name": tool.name,
        "description": tool.description,
        "url": tool.url,
        "host": tool.host,
        "method": tool.method,
        "parameters": [
            ParameterDocument(
                name=each.name,
                type=each.type,
                description=each.description,
                required=each.required,
                pattern=each.pattern,
            )
            for each in tool.parameters
        ],
    }


def _place(tool_id: str, name: str) -> Place:
    return Place(_COLLECTION, tool_id, f"headers.{name}")


def _name_taken() -> Conflict:
    return Conflict("There is a tool of this name already", details={"field": "name", "reason": "is taken"})
