"""What a batch means for executors: which starts, which replies, in which order."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from domain.account_key import AccountKey
from domain.draft import Draft
from domain.flow_index import ActiveFlow, FlowIndex
from domain.flow_triggers import OnMessage, ReEntry
from domain.happenings import Answered, Occasion, Standing, Started, decided

AT = datetime(2026, 11, 2, tzinfo=UTC)
ACCOUNT = AccountKey("a1", "m1", "100")
_CONTACTS, _FLOWS = ("c1", "c2"), ("f1", "f2", "f3")
_ACTIVE = st.builds(
    lambda flow_id, rule, listens: ActiveFlow(flow_id, 1, None, OnMessage(), rule, listens),
    st.sampled_from(_FLOWS),
    st.sampled_from(ReEntry),
    st.booleans(),
)
_SETS = st.lists(_ACTIVE, unique_by=lambda flow: flow.id, max_size=3)
_ENTRIES = st.sets(st.tuples(st.sampled_from(_CONTACTS), st.sampled_from(_FLOWS)))


@st.composite
def batches(draw: st.DrawFn) -> list[Occasion]:
    flows = draw(_SETS)
    index = FlowIndex(flows)
    texts = draw(st.lists(st.tuples(st.sampled_from(_CONTACTS), st.booleans(), st.integers(0, 7)), max_size=8))
    return [
        Occasion(
            ACCOUNT,
            Draft({"_id": contact_id}, is_new=False),
            index,
            f"event-{number}",
            AT,
            tuple(flow for place, flow in enumerate(flows) if chosen >> place & 1),
            f"message-{number}",
            may_answer=may_answer,
        )
        for number, (contact_id, may_answer, chosen) in enumerate(texts)
    ]


@given(batches(), st.sets(st.sampled_from(_CONTACTS)), _ENTRIES)
def test_each_message_is_decided_by_what_came_before_it(
    occasions: list[Occasion], listening: set[str], entered: set[tuple[str, str]]
) -> None:
    found = list(decided(occasions, Standing(listening, entered)))
    for place, occasion in enumerate(occasions):
        before = {id(each) for each in occasions[:place]}
        begun = [each for each in found if isinstance(each, Started) and id(each.occasion) in before]
        mine = [each for each in begun if each.occasion.contact_id == occasion.contact_id]
        listens = occasion.contact_id in listening or any(each.flow.listens for each in mine)
        answers = [each for each in found if isinstance(each, Answered) and each.occasion is occasion]
        assert len(answers) == (occasion.may_answer and listens)
        inside = {flow_id for contact_id, flow_id in entered if contact_id == occasion.contact_id}
        inside |= {each.flow.id for each in mine}
        started = [each.flow for each in found if isinstance(each, Started) and each.occasion is occasion]
        let_in = [flow for flow in occasion.flows if flow.re_entry is ReEntry.ALWAYS or flow.id not in inside]
        assert started == let_in
