"""Who was erased, told by keyed hashes alone: after an erasure nothing holds the X user id itself."""

from __future__ import annotations

import hmac
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from hashlib import sha256

from config.settings import Settings
from domain.account_key import AccountKey
from storage.client import Database, Session

#: How long after its erasure began or ended a message to a person may still be X's answer to a send from before: a call
#: that was under way ends within that time, and X's clock is not ours.
_STRAGGLING = timedelta(minutes=1)


class ErasedPeople:
    """Recognises people whose contact was erased, among those who name themselves."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        secret = settings.encryption_key.get_secret_value()
        self._key = sha256(b"mktx erasure receipt|" + secret.encode()).digest()

    def fingerprint(self, twitter_user_id: str) -> str:
        """Return the keyed hash by which a receipt can be matched to a person who names themselves."""
        return hmac.new(self._key, twitter_user_id.encode(), sha256).hexdigest()

    async def among(
        self, session: Session, account: AccountKey, twitter_user_ids: Collection[str], now: datetime
    ) -> Mapping[str, datetime]:
        """Return those of these X users whom the account has erased, or is erasing.

        With each comes the moment up to which a message of the account to them may be from before that.
        """
        erased: dict[str, datetime] = {}
        users = {self.fingerprint(user_id): user_id for user_id in twitter_user_ids}
        names = {"$in": list(users)}
        done = self._database["erasureReceipts"].find(
            {
                "merchantId": account.merchant_id,
                "$or": [{"subject": names, "accountId": account.id}, {"mergedSubjects": names}],
            },
            {"subject": 1, "mergedSubjects": 1, "completedAt": 1},
            session=session,
        )
        async for receipt in done:
            for subject in (receipt["subject"], *receipt.get("mergedSubjects", ())):
                if subject in users:
                    until = receipt["completedAt"] + _STRAGGLING
                    erased[users[subject]] = max(until, erased.get(users[subject], until))
        person = {"accountId": account.id, "twitterUserId": {"$in": list(twitter_user_ids)}}
        begun = self._database["erasures"].find({"people": {"$elemMatch": person}}, {"people": 1}, session=session)
        async for erasure in begun:
            ids = {each["twitterUserId"] for each in erasure["people"] if each["accountId"] == account.id}
            erased |= dict.fromkeys(ids.intersection(twitter_user_ids), now + _STRAGGLING)
        return erased
