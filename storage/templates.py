from __future__ import annotations

import re
from collections.abc import Collection
from datetime import datetime
from typing import TypedDict, cast

from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from domain.contact_names import fold
from domain.errors import Conflict
from domain.templates import TemplateType
from storage.client import Database, Document
from storage.paging import Slice, find_page

#: States of a campaign that may still send something.
CAMPAIGN_IN_USE = ("draft", "scheduled", "running", "paused")
_NEWEST_FIRST = [("_id", DESCENDING)]


class OptionDocument(TypedDict):
    """An answer that the receiver can choose."""

    label: str
    description: str | None
    metadata: str | None


class ButtonDocument(TypedDict):
    """A link below a message."""

    label: str
    url: str


class TemplateFields(TypedDict):
    """What people say about a template."""

    name: str
    type: TemplateType
    content: str
    variables: list[str]
    options: list[OptionDocument]
    buttons: list[ButtonDocument]


class TemplateDocument(TemplateFields):
    """A message with gaps; `version` grows with each change."""

    _id: str
    merchantId: str
    foldedName: str
    version: int
    createdAt: datetime
    updatedAt: datetime


class Templates:
    """The templates of a merchant; a name is given once."""

    def __init__(self, database: Database) -> None:
        self._collection = database["templates"]
        self._campaigns = database["campaigns"]
        self._flows = database["flows"]

    async def page(
        self, merchant_id: str, type_: TemplateType | None, search: str, part: Slice
    ) -> tuple[list[TemplateDocument], int]:
        """Return a part of the templates, newest first, and how many there are.

        `search` is a part of the name as it stands, whatever its case and accents.
        """
        query: Document = {"merchantId": merchant_id}
        if type_ is not None:
            query["type"] = type_
        if search:
            # A pattern can't hold a null character as it is.
            query["foldedName"] = {"$regex": re.escape(fold(search)).replace("\0", r"\x00")}
        documents, total = await find_page(self._collection, query, _NEWEST_FIRST, part)
        return cast("list[TemplateDocument]", documents), total

    async def get(self, merchant_id: str, template_id: str) -> TemplateDocument | None:
        """Return one template of the merchant."""
        query = {"_id": template_id, "merchantId": merchant_id}
        return cast("TemplateDocument | None", await self._collection.find_one(query))

    async def missing(self, merchant_id: str, template_ids: Collection[str]) -> set[str]:
        """Return those of several ids that are no templates of the merchant."""
        query = {"_id": {"$in": list(template_ids)}, "merchantId": merchant_id}
        return set(template_ids) - {each["_id"] async for each in self._collection.find(query, {"_id": 1})}

    async def contents(self, merchant_id: str, template_ids: Collection[str]) -> dict[str, str]:
        """Return what those of several templates say that the merchant has, by their ids."""
        query = {"_id": {"$in": list(template_ids)}, "merchantId": merchant_id}
        return {each["_id"]: each["content"] async for each in self._collection.find(query, {"content": 1})}

    async def add(self, merchant_id: str, template_id: str, fields: TemplateFields, now: datetime) -> TemplateDocument:
        """Store a template and return it; one with this very id is there already where a request is repeated.

        Raises:
            Conflict: when the merchant has another one of that name.
        """
        document: Document = {
            "_id": template_id,
            "merchantId": merchant_id,
            **fields,
            "foldedName": fold(fields["name"]),
            "version": 1,
            "createdAt": now,
            "updatedAt": now,
        }
        try:
            await self._collection.insert_one(document)
        except DuplicateKeyError:
            same = await self.get(merchant_id, template_id)
            if same is None:
                raise _name_taken() from None
            return same
        return cast("TemplateDocument", document)

    async def change(self, known: TemplateDocument, fields: TemplateFields, now: datetime) -> TemplateDocument:
        """Change a template as it was read, and return it.

        Raises:
            Conflict: when the merchant has another one of that name, or somebody else was faster.
        """
        query = {"_id": known["_id"], "merchantId": known["merchantId"], "version": known["version"]}
        update = {
            "$set": {**fields, "foldedName": fold(fields["name"]), "updatedAt": now},
            "$inc": {"version": 1},
        }
        try:
            changed = await self._collection.find_one_and_update(query, update, return_document=ReturnDocument.AFTER)
        except DuplicateKeyError:
            raise _name_taken() from None
        if changed is None:
            raise Conflict("The template was changed by somebody else")
        return cast("TemplateDocument", changed)

    async def remove(self, merchant_id: str, template_id: str) -> bool:
        """Delete a template; answers whether the merchant had it.

        Raises:
            Conflict: while a campaign uses it that may still send, or a flow.
        """
        used: Document = {
            "merchantId": merchant_id,
            "status": {"$in": list(CAMPAIGN_IN_USE)},
            "$or": [{"templateId": template_id}, {"variants.templateId": template_id}],
        }
        if await self._campaigns.find_one(used, {"_id": 1}) is not None:
            raise Conflict("The template is being used by active campaigns")
        used = {"merchantId": merchant_id, "nodes.config.templateId": template_id}
        if await self._flows.find_one(used, {"_id": 1}) is not None:
            raise Conflict("The template is being used by flows")
        result = await self._collection.delete_one({"_id": template_id, "merchantId": merchant_id})
        return result.deleted_count == 1


def _name_taken() -> Conflict:
    return Conflict("There is a template of this name already", details={"field": "name", "reason": "is taken"})
