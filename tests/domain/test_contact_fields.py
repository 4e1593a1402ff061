from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.contact_fields import (
    MOST_ATTRIBUTES,
    attribute_name,
    attribute_value,
    checked_attributes,
    display_name,
    tag,
    twitter_user_id,
    username,
)


@pytest.mark.parametrize(
    ("text", "kept"),
    [("VIP", "vip"), ("  Gold Member ", "gold member"), ("a" * 64, "a" * 64), ("ĐẶC BIỆT", "đặc biệt")],
)
def test_a_tag_is_kept_in_lower_case_without_spaces_around_it(text: str, kept: str) -> None:
    assert tag(text) == kept


@pytest.mark.parametrize("text", ["", "   ", "a" * 65, "a,b", "a\x00b", "a\nb"])
def test_what_is_no_tag_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        tag(text)


@given(st.text(max_size=80))
def test_a_tag_that_is_kept_is_kept_the_same_when_given_again(text: str) -> None:
    try:
        kept = tag(text)
    except ValueError:
        return
    assert tag(kept) == kept


@pytest.mark.parametrize("name", ["a", "_", "purchaseCount", "A1_", "a" * 64])
def test_names_of_attributes(name: str) -> None:
    assert attribute_name(name) == name


@pytest.mark.parametrize("name", ["", "1a", "a.b", "$set", "a b", "a" * 65, "é", "a\n"])
def test_what_is_no_name_of_an_attribute_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must"):
        attribute_name(name)


@pytest.mark.parametrize(
    "value", ["text", "", "two\nlines", 5, -5, 2**63 - 1, 1.5, True, False, "2026-01-15", [], ["a", "b"]]
)
def test_values_of_attributes_are_kept_as_they_are(value: object) -> None:
    kept = attribute_value(value)
    assert kept == value
    assert type(kept) is type(value)


@pytest.mark.parametrize(
    "value", [None, {"a": 1}, [1], [["a"]], 2**63, -(2**63) - 1, math.inf, math.nan, "a" * 2001, ["a"] * 101, "a\x00"]
)
def test_what_is_no_value_of_an_attribute_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="must"):
        attribute_value(value)


def test_a_wrong_attribute_is_named() -> None:
    with pytest.raises(ValueError, match="attribute colour: must be text"):
        checked_attributes({"size": 1, "colour": {}})
    with pytest.raises(ValueError, match="at most"):
        checked_attributes({f"a{number}": 1 for number in range(MOST_ATTRIBUTES + 1)})


def test_names_of_people() -> None:
    assert username(" @customer_john ") == "customer_john"
    assert display_name("  John Doe (VIP) ") == "John Doe (VIP)"
    assert twitter_user_id("987654321") == "987654321"
    for wrong in ("", "a b", "a" * 21, "@@a"):
        with pytest.raises(ValueError, match="must"):
            username(wrong)
    for wrong in ("", " ", "a" * 101, "a\x00"):
        with pytest.raises(ValueError, match="must"):
            display_name(wrong)
    for wrong in ("", "x1", "0", "1" * 21, "1 2", "\u0661"):
        with pytest.raises(ValueError, match="must"):
            twitter_user_id(wrong)
