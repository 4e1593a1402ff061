"""What a campaign may say, before anything is looked up; what it names is looked up over HTTP in test_campaigns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.models.campaigns import MOST_CONTROL, MOST_VARIANTS, MOST_WEIGHT, ChangeCampaign, CreateCampaign

NAMED = {"name": "A", "type": "promotional"}


def variants(*names: str, **fields: object) -> list[dict[str, object]]:
    return [{"name": name, "templateId": "t", **fields} for name in names]


def places_of(model: type[CreateCampaign | ChangeCampaign], **fields: object) -> set[tuple[int | str, ...]]:
    with pytest.raises(ValidationError) as refused:
        model.model_validate(fields)
    return {error["loc"][:3] for error in refused.value.errors()}


@pytest.mark.parametrize("weight", [0, -1, MOST_WEIGHT + 1, 1.5, "2", True, None])
def test_a_weight_is_a_whole_number_from_one_on(weight: object) -> None:
    given_ = [*variants("a"), *variants("b", weight=weight)]
    assert places_of(CreateCampaign, **NAMED, variants=given_) == {("variants", 1, "weight")}


@pytest.mark.parametrize("name", ["", "x" * 51, "a|b", "a b", "a.b", "$a", "ä", "all", "control", "a\n"])
def test_a_name_of_a_variant_can_stand_in_ids_and_is_no_word_of_ours(name: str) -> None:
    assert places_of(CreateCampaign, **NAMED, variants=variants("a", name)) == {("variants", 1, "name")}


@pytest.mark.parametrize("share", [-0.01, MOST_CONTROL + 0.01, float("nan"), float("inf"), "much"])
def test_no_more_than_half_of_the_contacts_are_held_back(share: object) -> None:
    assert places_of(CreateCampaign, **NAMED, templateId="t", controlShare=share) == {("controlShare",)}


@given(
    st.lists(st.from_regex(r"[A-Za-z0-9_-]{1,50}", fullmatch=True), max_size=MOST_VARIANTS + 2),
    st.integers(1, MOST_WEIGHT),
)
def test_variants_are_two_to_five_with_names_of_their_own_or_none(names: list[str], weight: int) -> None:
    template = {} if names else {"templateId": "t"}
    body = NAMED | template | {"variants": variants(*names, weight=weight)}
    right = len(set(names)) == len(names) and (not names or 2 <= len(names) <= MOST_VARIANTS)
    if right and not {"all", "control"} & set(names):
        assert [each.weight for each in CreateCampaign.model_validate(body).variants] == [weight] * len(names)
    else:
        with pytest.raises(ValidationError):
            CreateCampaign.model_validate(body)


def test_a_change_takes_variants_or_a_template() -> None:
    assert places_of(ChangeCampaign, templateId="t", variants=variants("a", "b")) == {()}
    assert places_of(ChangeCampaign, variants=[]) == {()}
    assert places_of(ChangeCampaign, variants=variants("a")) == {("variants",)}
    assert ChangeCampaign.model_validate({"variants": [], "templateId": "t"}).variants == []
