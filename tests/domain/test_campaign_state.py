from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.campaign_state import Action, CampaignStatus, check_change, moved
from domain.errors import Conflict, InvalidRequest

STATES: tuple[CampaignStatus, ...] = get_args(CampaignStatus)
ACTIONS: tuple[Action, ...] = get_args(Action)

#: Contract, part 5, "Campaigns"; `retry` is `POST …/retry-failed` on a campaign that is over.
ALLOWED = {
    ("draft", "schedule"): "scheduled",
    ("draft", "start"): "running",
    ("scheduled", "unschedule"): "draft",
    ("scheduled", "start"): "running",
    ("running", "pause"): "paused",
    ("running", "cancel"): "cancelled",
    ("running", "complete"): "completed",
    ("paused", "resume"): "running",
    ("paused", "cancel"): "cancelled",
    ("completed", "retry"): "running",
}


@pytest.mark.parametrize(("status", "action"), list(product(STATES, ACTIONS)))
def test_an_action_leads_where_the_contract_says_or_is_a_conflict(status, action):
    if (status, action) in ALLOWED:
        assert moved(status, action) == ALLOWED[status, action]
    else:
        with pytest.raises(Conflict) as refused:
            moved(status, action)
        assert refused.value.http_status == 409
        assert status in refused.value.message


@pytest.mark.parametrize("status", STATES)
def test_only_what_has_not_begun_may_be_changed(status):
    if status in {"draft", "scheduled"}:
        check_change(status)
    else:
        with pytest.raises(InvalidRequest, match="Cannot update running/completed campaigns") as refused:
            check_change(status)
        assert refused.value.http_status == 400


class Campaign(RuleBasedStateMachine):
    """A campaign that anybody does anything to."""

    def __init__(self) -> None:
        super().__init__()
        self.status: CampaignStatus = "draft"
        self.has_run = self.is_cancelled = False

    @rule(action=st.sampled_from(ACTIONS))
    def act(self, action: Action) -> None:
        before = self.status
        try:
            self.status = moved(before, action)
        except Conflict:
            assert (before, action) not in ALLOWED
            return
        assert self.status == ALLOWED[before, action]
        self.has_run = self.has_run or self.status == "running"
        self.is_cancelled = self.is_cancelled or self.status == "cancelled"

    @invariant()
    def what_has_run_is_never_a_draft_again(self) -> None:
        assert (self.status in {"draft", "scheduled"}) == (not self.has_run)

    @invariant()
    def what_is_cancelled_stays_so(self) -> None:
        assert not self.is_cancelled or self.status == "cancelled"


TestCampaign = Campaign.TestCase
TestCampaign.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
