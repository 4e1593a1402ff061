"""Where things about a contact are kept, apart from its conversations and their messages.

What adds a collection about contacts adds it here: it is exported and erased from then on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from storage.client import Database, Document, Session

#: Collections whose documents belong to one contact, which they name in `contactId`. Links come after recipients: the
#: transaction that writes them writes their recipient too, so none is written once the recipients are erased. So it is
#: with events of flows, which come after executions.
BY_CONTACT = (
    "activities",
    "campaignRecipients",
    "trackedLinks",
    "flowExecutions",
    "flowEvents",
    "segmentMembers",
    "conversationNotes",
    "aiSessions",
    "webhookDeliveries",
)
#: Fields of an activity's `data` that hold the X id of somebody it is about.
PEOPLE_IN_ACTIVITIES = ("authorId", "postAuthorId", "inReplyToUserId")


@dataclass(frozen=True, slots=True)
class Person:
    """One of the X users that a contact is, as one account knows them; `contact_id` is what it was before a merge."""

    contact_id: str
    account_id: str
    for_user_id: str
    twitter_user_id: str


async def people_of(database: Database, contact: Document, session: Session | None = None) -> tuple[Person, ...]:
    """Return who a contact is: first its own X user, then those of the contacts that it has taken up."""
    own = {"contactId": contact["_id"], **{name: contact[name] for name in ("accountId", "twitterUserId")}}
    identities = [own, *contact.get("merged", [])]
    query = {"_id": {"$in": sorted({each["accountId"] for each in identities})}}
    found = database["accounts"].find(query, {"twitterUserId": 1}, session=session)
    accounts = {account["_id"]: account["twitterUserId"] async for account in found}
    return tuple(
        Person(each["contactId"], each["accountId"], accounts.get(each["accountId"], ""), each["twitterUserId"])
        for each in identities
    )


def waiting_events(for_user_id: str, participant_id: str) -> dict[str, object]:
    """Return the condition that a document of several events has some of this person and this account."""
    return {"events": {"$elemMatch": {"forUserId": for_user_id, "participantId": participant_id}}}


def whole_number(digits: str) -> str:
    """Return the pattern that finds a number in a text, but not within a longer one."""
    return f"(?<![0-9]){re.escape(digits)}(?![0-9])"
