from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.campaign_message import CampaignContent, fillings_for, rendered
from domain.templates import LONGEST_CONTENT, Fillings, MissingVariable, UnrenderableTemplate

BASE = "https://go.example"
CONTACT = {"displayName": "Ann", "username": "ann_1", "attributes": {"tier": "gold"}}
ACCOUNT = {"displayName": "GoodGo", "username": "goodgo_shop"}


def codes():
    numbers = count()
    return lambda _: f"code{next(numbers)}"


def made(content, variables=None, base=BASE, contact=CONTACT):
    return rendered(content, fillings_for(contact, ACCOUNT, variables or {}), codes(), base)


def text(content):
    return CampaignContent.of("text", content, [], [])


def card(content, *urls):
    return CampaignContent.of("card", content, [], [{"label": "Shop", "url": url} for url in urls])


def test_a_content_is_filled_for_its_contact():
    content = text("Hi {{name}} (@{{username}}, {{attributes.tier}}), use {{code}} at {{account.name}}")
    assert made(content, {"code": "SUMMER10"}).fields == {
        "type": "text",
        "content": "Hi Ann (@ann_1, gold), use SUMMER10 at GoodGo",
    }


def test_what_is_given_binds_more_than_what_the_contact_has():
    assert made(text("{{name}} {{attributes.tier}}"), {"name": "Bo", "attributes.tier": "new"}).fields["content"] == (
        "Bo new"
    )


@pytest.mark.parametrize("contact", [{}, {"displayName": None}, {"displayName": ""}, {"displayName": 5}])
def test_a_name_that_is_not_known_is_missing(contact):
    with pytest.raises(MissingVariable):
        made(text("Hi {{name}}"), contact=contact)
    assert made(text("Hi {{name | default: 'there'}}"), contact=contact).fields["content"] == "Hi there"


def test_attributes_that_are_none_at_all_are_none():
    assert fillings_for({"attributes": None}, {}, {}) == Fillings(
        contact={"name": None, "username": None}, account={"name": None, "username": None}
    )


def test_links_of_the_text_and_of_buttons_lead_over_the_gateway_each_target_once():
    content = card("See https://a.example and https://b.example!", "https://b.example", "https://c.example/?q=1")
    found = made(content)
    assert found.fields == {
        "type": "card",
        "content": f"See {BASE}/l/code0 and {BASE}/l/code1!",
        "buttons": [{"label": "Shop", "url": f"{BASE}/l/code1"}, {"label": "Shop", "url": f"{BASE}/l/code2"}],
    }
    assert [(link.code, link.url) for link in found.links] == [
        ("code0", "https://a.example"),
        ("code1", "https://b.example"),
        ("code2", "https://c.example/?q=1"),
    ]


def test_a_buttons_address_is_a_link_as_a_whole():
    url = "https://a.example/x)(`^..."
    found = made(card("Look", url))
    assert found.fields["buttons"] == [{"label": "Shop", "url": f"{BASE}/l/code0"}]
    assert [link.url for link in found.links] == [url]


def test_a_link_that_a_variable_brings_is_tracked_too():
    found = made(text("Go: {{target}}"), {"target": "https://a.example/1"})
    assert (found.fields["content"], found.links[0].url) == (f"Go: {BASE}/l/code0", "https://a.example/1")


def test_without_an_address_of_ours_links_stay_as_they_are():
    found = made(card("See https://a.example", "https://b.example"), base="")
    assert found.fields["content"] == "See https://a.example"
    assert found.fields["buttons"] == [{"label": "Shop", "url": "https://b.example"}]
    assert found.links == ()


def test_quick_replies_stay_as_they_are():
    options = [{"label": "Yes", "description": "https://a.example", "metadata": "yes"}]
    found = made(CampaignContent.of("quick_reply", "Well?", options, []))
    assert found.fields == {"type": "quick_reply", "content": "Well?", "options": options}
    assert found.links == ()


def test_a_text_that_its_links_make_too_long_can_not_be_made():
    short = "https://a.io"
    fits = "x" * (LONGEST_CONTENT - len(f" {BASE}/l/code0")) + f" {short}"
    assert len(made(text(fits)).fields["content"]) == LONGEST_CONTENT
    with pytest.raises(UnrenderableTemplate):
        made(text(f"x{fits}"))
    assert made(text(f"x{fits}"), base="").links == ()


@given(st.text("ab |\n", max_size=30), st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=30))
def test_what_a_contact_is_called_is_never_a_template(before, name):
    found = made(text(f"{before}[{{{{name}}}}]"), contact={"displayName": f"{{{{account.name}}}}{name}"}, base="")
    assert found.fields["content"] == f"{before}[{{{{account.name}}}}{name}]"
