from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.flow_index import ActiveFlow, FlowIndex
from domain.flow_triggers import (
    Happening,
    OnCampaignReplied,
    OnManual,
    OnMention,
    OnMessage,
    OnNewContact,
    OnNewFollower,
    OnSegmentEntered,
    OnTagAdded,
    Trigger,
    starts,
)

#: Few words, so that keywords meet texts, overlap and begin alike.
_PHRASES = st.lists(
    st.sampled_from(["order", "ORDER", "my", "café", "cafe", "", "!", "订单", "🎉", "a"]), max_size=4
).map(" ".join)
_KEYWORDS = st.lists(_PHRASES, max_size=4).map(tuple)
_IDS = st.sampled_from(["one", "two", "Three", ""])
_TRIGGERS: st.SearchStrategy[Trigger] = st.one_of(
    st.builds(OnMessage, _KEYWORDS, st.booleans()),
    st.builds(OnMention, _KEYWORDS, st.booleans()),
    st.builds(OnTagAdded, st.none() | _IDS.map(str.lower)),
    st.builds(OnCampaignReplied, st.none() | _IDS),
    st.builds(OnSegmentEntered, _IDS),
    st.sampled_from([OnNewFollower(), OnNewContact(), OnManual()]),
)
_HAPPENINGS = st.one_of(
    st.builds(Happening, st.sampled_from(["message_received", "mention"]), _PHRASES),
    st.builds(Happening, st.sampled_from(["tag_added", "campaign_replied", "segment_entered"]), _IDS),
    st.builds(Happening, st.sampled_from(["new_follower", "new_contact", "manual", "unheard_of"])),
)
_ACCOUNTS = st.sampled_from([None, "a1", "a2"])


def flow_of(number: int, trigger: Trigger, account_id: str | None = None, **fields: Any) -> ActiveFlow:
    return ActiveFlow(f"flow-{number:03}", 1, account_id, trigger, **fields)


@given(st.lists(st.tuples(_TRIGGERS, _ACCOUNTS), max_size=12), _HAPPENINGS, st.sampled_from(["a1", "a2"]))
@example([(OnMessage(("",)), None)], Happening("message_received", ""), "a1")
@example([(OnMessage(("!",), exact=True), None)], Happening("message_received", ""), "a1")
def test_what_is_found_is_what_each_flow_by_itself_says(
    given_flows: list[tuple[Trigger, str | None]], happening: Happening, account_id: str
) -> None:
    flows = [flow_of(number, *each) for number, each in enumerate(given_flows)]
    expected = [each for each in flows if each.account_id in (None, account_id) and starts(each.trigger, happening)]
    assert FlowIndex(reversed(flows)).started_by(account_id, happening) == expected


def test_a_flow_is_found_once_however_many_of_its_keywords_are_said() -> None:
    flow = flow_of(1, OnMessage(("order", "my order", "order")))
    assert FlowIndex([flow]).started_by("a1", Happening("message_received", "Order: my order is my ORDER!")) == [flow]


class Counting(dict[Any, Any]):
    looks = 0

    def get(self, *arguments: Any) -> Any:
        Counting.looks += 1
        return super().get(*arguments)


@pytest.mark.parametrize("flows", [1, 500])
def test_a_message_costs_a_look_up_for_each_of_its_words_however_many_flows_there_are(flows: int) -> None:
    index = FlowIndex(flow_of(number, OnMessage((f"word{number}", f"word{number} more"))) for number in range(flows))
    keywords = index._keywords["message_received"]
    keywords._phrases, keywords._lengths = Counting(keywords._phrases), Counting(keywords._lengths)
    Counting.looks = 0
    index.started_by("a1", Happening("message_received", "one two three four five word0"))
    assert Counting.looks == 6 + 2 + 1


def test_executions_may_listen_where_a_flow_waits_for_replies_or_one_that_is_active_no_more_did() -> None:
    assert FlowIndex([flow_of(1, OnManual(), listens=True)]).may_listen
    assert FlowIndex([], may_listen=True).may_listen
    assert not FlowIndex([flow_of(1, OnManual())]).may_listen
