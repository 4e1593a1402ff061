"""Where things about a contact are kept, apart from its conversations and their messages.

What adds a collection about contacts adds it here: it is exported and erased from then on.
"""

from __future__ import annotations

import re

#: Collections whose documents belong to one contact, which they name in `contactId`.
BY_CONTACT = ("activities", "campaignRecipients", "flowExecutions")
#: Fields of an activity's `data` that hold the X id of somebody it is about.
PEOPLE_IN_ACTIVITIES = ("authorId", "postAuthorId", "inReplyToUserId")


def waiting_events(for_user_id: str, participant_id: str) -> dict[str, object]:
    """Return the condition that a document of several events has some of this person and this account."""
    return {"events": {"$elemMatch": {"forUserId": for_user_id, "participantId": participant_id}}}


def whole_number(digits: str) -> str:
    """Return the pattern that finds a number in a text, but not within a longer one."""
    return f"(?<![0-9]){re.escape(digits)}(?![0-9])"
