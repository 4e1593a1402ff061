from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NotRequired, TypedDict, cast

from pymongo import DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from domain.errors import Conflict
from storage.client import Database
from storage.encryption import KeyRing, Place
from storage.paging import Slice, find_page

_NEWEST_FIRST = [("connectedAt", DESCENDING), ("_id", DESCENDING)]
_WITHOUT_TOKENS = {"tokens": 0}


class SealedTokens(TypedDict):
    """OAuth 1.0a tokens of an account, each sealed for its place."""

    oauthToken: str
    oauthTokenSecret: str


class AccountDocument(TypedDict):
    """A connected X account; `tokens` is there only where a method says so."""

    _id: str
    merchantId: str
    twitterUserId: str
    username: str
    displayName: str
    profileImageUrl: str | None
    status: str
    statusReason: str | None
    connected: bool
    webhookId: str | None
    autoReplyEnabled: bool
    businessHours: dict[str, object]
    requireConsent: NotRequired[bool]
    stopWords: NotRequired[list[str] | None]
    startWords: NotRequired[list[str] | None]
    optOutConfirmation: NotRequired[str | None]
    quietHours: NotRequired[dict[str, str | None] | None]
    campaignMessagesPerWeek: NotRequired[int]
    connectedAt: datetime
    disconnectedAt: datetime | None
    createdAt: datetime
    updatedAt: datetime


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the account is on X."""

    twitter_user_id: str
    username: str
    display_name: str
    profile_image_url: str | None


@dataclass(frozen=True, slots=True)
class Tokens:
    """OAuth 1.0a tokens in clear; never logged, never shown."""

    oauth_token: str
    oauth_token_secret: str

    def __repr__(self) -> str:
        return "Tokens(…)"


class Accounts:
    """Connected X accounts. An X account is connected at most once over all merchants; a unique index keeps that."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._collection = database["accounts"]
        self._keys = keys

    async def page(self, merchant_id: str, status: str | None, part: Slice) -> tuple[list[AccountDocument], int]:
        """Return a part of the merchant's accounts, latest connected first, and how many there are."""
        query: dict[str, object] = {"merchantId": merchant_id}
        if status is not None:
            query["status"] = status
        documents, total = await find_page(self._collection, query, _NEWEST_FIRST, part, projection=_WITHOUT_TOKENS)
        return cast("list[AccountDocument]", documents), total

    async def get(self, merchant_id: str, account_id: str) -> AccountDocument | None:
        """Return one account of the merchant."""
        query = {"_id": account_id, "merchantId": merchant_id}
        return cast("AccountDocument | None", await self._collection.find_one(query, _WITHOUT_TOKENS))

    async def missing(self, merchant_id: str, account_ids: Collection[str]) -> set[str]:
        """Return those of several ids that are no accounts of the merchant."""
        query = {"_id": {"$in": list(account_ids)}, "merchantId": merchant_id}
        return set(account_ids) - {each["_id"] async for each in self._collection.find(query, {"_id": 1})}

    async def is_connected(self, twitter_user_id: str) -> bool:
        """Whether any merchant has this X account connected."""
        query = {"twitterUserId": twitter_user_id, "connected": True}
        return await self._collection.count_documents(query, limit=1) == 1

    async def former_id(self, merchant_id: str, twitter_user_id: str) -> str | None:
        """Return the id that this X account had when the merchant disconnected it."""
        query = {"merchantId": merchant_id, "twitterUserId": twitter_user_id}
        found = await self._collection.find_one(query, {"_id": 1})
        return None if found is None else cast("str", found["_id"])

    async def tokens(self, merchant_id: str, account_id: str) -> Tokens | None:
        """Return the tokens of an account, or nothing when they were erased.

        Raises:
            CannotOpen: when they can't be decrypted with any key of the ring.
        """
        found = await self._collection.find_one({"_id": account_id, "merchantId": merchant_id}, {"tokens": 1})
        if found is None or found.get("tokens") is None:
            return None
        sealed = found["tokens"]
        return Tokens(
            self._keys.open(sealed["oauthToken"], _place(account_id, "oauthToken")),
            self._keys.open(sealed["oauthTokenSecret"], _place(account_id, "oauthTokenSecret")),
        )

    async def connect(
        self,
        merchant_id: str,
        account_id: str,
        identity: Identity,
        tokens: Tokens,
        *,
        webhook_id: str | None,
        defaults: Mapping[str, object],
        now: datetime,
    ) -> AccountDocument:
        """Make the account active, new or as it was before; settings that it has are kept.

        Raises:
            Conflict: when it is connected, by this merchant or another, or somebody else was faster.
        """
        sealed: SealedTokens = {
            "oauthToken": self._keys.seal(tokens.oauth_token, _place(account_id, "oauthToken")),
            "oauthTokenSecret": self._keys.seal(tokens.oauth_token_secret, _place(account_id, "oauthTokenSecret")),
        }
        current = {
            "username": identity.username,
            "displayName": identity.display_name,
            "profileImageUrl": identity.profile_image_url,
            "status": "active",
            "statusReason": None,
            "connected": True,
            "webhookId": webhook_id,
            "tokens": sealed,
            "connectedAt": now,
            "disconnectedAt": None,
            "updatedAt": now,
        }
        query = {
            "_id": account_id,
            "merchantId": merchant_id,
            "twitterUserId": identity.twitter_user_id,
            "connected": False,
        }
        try:
            stored = await self._collection.find_one_and_update(
                query,
                {"$set": current, "$setOnInsert": {**defaults, "createdAt": now}},
                projection=_WITHOUT_TOKENS,
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        except DuplicateKeyError:
            raise Conflict("This X account is connected already") from None
        return cast("AccountDocument", stored)

    async def disconnect(self, merchant_id: str, account_id: str, now: datetime) -> bool:
        """Erase the tokens and make the account inactive; answers whether the merchant has such an account."""
        result = await self._collection.update_one(
            {"_id": account_id, "merchantId": merchant_id, "connected": True},
            {
                "$set": {
                    "status": "inactive",
                    "statusReason": None,
                    "connected": False,
                    "webhookId": None,
                    "tokens": None,
                    "disconnectedAt": now,
                    "updatedAt": now,
                }
            },
        )
        return result.matched_count == 1

    async def change(
        self, merchant_id: str, account_id: str, changes: Mapping[str, object], now: datetime
    ) -> AccountDocument | None:
        """Set fields of the account's settings and return it.

        `changes` maps paths (`businessHours.schedule.monday`) to values; `None` is stored as it is.
        """
        return cast(
            "AccountDocument | None",
            await self._collection.find_one_and_update(
                {"_id": account_id, "merchantId": merchant_id},
                {"$set": {**changes, "updatedAt": now}},
                projection=_WITHOUT_TOKENS,
                return_document=ReturnDocument.AFTER,
            ),
        )

    async def subscribed(self, merchant_id: str, account_id: str, webhook_id: str, now: datetime) -> None:
        """Take note of the webhook that X delivers the account's events to."""
        await self._collection.update_one(
            {"_id": account_id, "merchantId": merchant_id, "connected": True},
            {"$set": {"webhookId": webhook_id, "updatedAt": now}},
        )

    async def not_subscribed(self, webhook_id: str, most: int) -> list[tuple[str, str]]:
        """Return (merchant, account) of active accounts of all merchants whose events don't come to this webhook."""
        query = {"connected": True, "status": "active", "webhookId": {"$ne": webhook_id}}
        found = self._collection.find(query, {"merchantId": 1}).limit(most)
        return [(account["merchantId"], account["_id"]) async for account in found]

    async def set_status(
        self, merchant_id: str, account_id: str, status: str, reason: str | None, now: datetime
    ) -> None:
        """Set the state of a connected account: `active`, or `error` with its reason."""
        await self._collection.update_one(
            {"_id": account_id, "merchantId": merchant_id, "connected": True},
            {"$set": {"status": status, "statusReason": reason, "updatedAt": now}},
        )


def _place(account_id: str, field: str) -> Place:
    return Place("accounts", account_id, field)
