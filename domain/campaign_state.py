"""The states of a campaign and of its recipients, and the ways between them (contract, part 5, "Campaigns")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from domain.contact_policy import HeldBack
from domain.errors import Conflict, InvalidRequest

CampaignStatus: TypeAlias = Literal["draft", "scheduled", "running", "paused", "completed", "cancelled"]
Action: TypeAlias = Literal["schedule", "unschedule", "start", "pause", "resume", "cancel", "complete", "retry"]
RecipientStatus: TypeAlias = Literal["pending", "queued", "sent", "failed", "skipped"]
#: Why a run is stopped before its last recipient.
StopReason: TypeAlias = Literal["cancelled", "ended"]
#: Why a recipient gets nothing: they don't want it, can't get it, are held back to compare with, or the run is stopped.
SkipReason: TypeAlias = HeldBack | Literal["erased", "closed_account", "control"] | StopReason
#: Why no message can be made for a recipient; where X refuses it, the reason is X's (domain.x_errors).
FailReason: TypeAlias = Literal["missing_variable", "unrenderable"]

#: What an action makes of a campaign, by the state that it is in; there is no other way.
MOVES: Mapping[Action, Mapping[CampaignStatus, CampaignStatus]] = {
    "schedule": {"draft": "scheduled"},
    "unschedule": {"scheduled": "draft"},
    "start": {"draft": "running", "scheduled": "running"},
    "pause": {"running": "paused"},
    "resume": {"paused": "running"},
    "cancel": {"running": "cancelled", "paused": "cancelled"},
    "complete": {"running": "completed"},
    # Recipients that failed are tried again on somebody's word: the campaign has work to do once more.
    "retry": {"completed": "running"},
}

#: States in which people may change what a campaign is.
CHANGEABLE: frozenset[CampaignStatus] = frozenset({"draft", "scheduled"})


def moved(status: CampaignStatus, action: Action) -> CampaignStatus:
    """Return the state that an action leads to.

    Raises:
        Conflict: when the action can't be taken in this state.
    """
    after = MOVES[action].get(status)
    if after is None:
        raise Conflict(f"A campaign that is {status} can't do this: {action}")
    return after


def check_change(status: CampaignStatus) -> None:
    """Check that a campaign may be changed (seed, "Update Campaign").

    Raises:
        InvalidRequest: when it has begun, or is over.
    """
    if status not in CHANGEABLE:
        raise InvalidRequest("Cannot update running/completed campaigns")
