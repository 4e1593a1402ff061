from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidContent
from domain.templates import (
    LONGEST_CONTENT,
    SAMPLE,
    Button,
    Fillings,
    MissingVariable,
    QuickReply,
    TemplateDraft,
    UnrenderableTemplate,
    checked_variables,
    render,
    variables_of,
)

WELCOME = "Hi {{name}}, welcome to {{shop_name}}! Use code {{discount_code}} for 10% off your first order."
ANN = Fillings(
    contact={"name": "Ann", "username": "ann_1"},
    attributes={"tier": "gold", "count": 5, "likes": ["shoes", "bags"], "since": "2026-01-15"},
    account={"name": "GoodGo", "username": "goodgo_shop"},
)
NUMBER_BOMB = "{% assign x = 9 %}" + "{% assign x = x | times: x %}" * 60 + "{{ x }}"
TEXT_BOMB = "{% assign x = 'ab' %}" + "{% assign x = x | append: x %}" * 60 + "{{ x }}"
PRODUCT = "{% for a in (1..300) %}{% for b in (1..300) %}{% for c in (1..300) %}x{% endfor %}{% endfor %}{% endfor %}"


def text(content: str, variables: tuple[str, ...] | None = None) -> TemplateDraft:
    return TemplateDraft("text", content, variables)


def problems(draft: TemplateDraft) -> dict[str, str]:
    with pytest.raises(InvalidContent) as caught:
        checked_variables(draft)
    return {problem.field: problem.reason for problem in caught.value.problems}


def test_the_example_of_the_api_document_is_rendered() -> None:
    assert checked_variables(text(WELCOME, ("name", "shop_name", "discount_code")))
    given = {"name": "John", "shop_name": "GoodGo Shop", "discount_code": "WELCOME10"}
    assert (
        render(WELCOME, replace(SAMPLE, given=given))
        == "Hi John, welcome to GoodGo Shop! Use code WELCOME10 for 10% off your first order."
    )


@pytest.mark.parametrize(
    ("content", "rendered"),
    [
        ("{{ name }}/{{ username }}", "Ann/ann_1"),
        ("{{ attributes.tier }} {{ attributes.count }}", "gold 5"),
        ("{{ account.name }}", "GoodGo"),
        ("{{ nickname | default: 'friend' }}", "friend"),
        ("{{ attributes.nothing | default: 'friend' }}", "friend"),
        ("{% if nickname %}a{% else %}b{% endif %}", "b"),
        ("{% if attributes.tier == 'gold' %}VIP{% endif %}", "VIP"),
        ("{{ name | upcase | append: '!' }}", "ANN!"),
        ("{{ attributes.likes | join: ', ' }}", "shoes, bags"),
        ("{% for each in attributes.likes %}{{ each }};{% endfor %}", "shoes;bags;"),
        ("{% for n in (1..3) %}{{ n }}{% endfor %}", "123"),
        ("{{ attributes.count | times: 2 | plus: 1 }}", "11"),
        ("{{ attributes.since | date: '%-d %B %Y' }}", "15 January 2026"),
        ("{{ name | replace: 'n', 'm' }}", "Amm"),
        ("{% assign x = name %}{% capture y %}{{ x }}!{% endcapture %}{{ y }}", "Ann!"),
        ("{% raw %}{{ name }}{% endraw %}", "{{ name }}"),
        ("{% comment %}{{ whatever }}{% endcomment %}x", "x"),
        ("<b>&", "<b>&"),
    ],
)
def test_usual_liquid_works(content: str, rendered: str) -> None:
    assert render(content, ANN) == rendered


def test_what_is_given_binds_more_than_the_contact() -> None:
    given = replace(ANN, given={"name": "Zoe", "attributes.tier": "silver"})
    assert render("{{ name }} {{ attributes.tier }} {{ attributes.count }}", given) == "Zoe silver 5"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ("{{ discount_code }}", "discount_code"),
        ("{{ attributes.nothing }}", "attributes.nothing"),
        ("{% for each in cart %}{{ each }}{% endfor %}", "cart"),
        ("{{ code | upcase }}", "code"),
        ("{{ code | plus: 1 }}", "code"),
        ("{{ now }}", "now"),
        ("{{ name.__class__ }}", "name.__class__"),
        ("{{ name['__class__'] }}", "name.__class__"),
        ("{{ attributes.__init__ }}", "attributes.__init__"),
        ("{{ attributes.keys }}", "attributes.keys"),
    ],
)
def test_a_variable_that_nothing_fills_is_named(content: str, name: str) -> None:
    with pytest.raises(MissingVariable) as caught:
        render(content, ANN)
    assert caught.value.problems[0].field == name


def test_a_contact_without_a_name_has_none_to_fill_in() -> None:
    with pytest.raises(MissingVariable) as caught:
        render("Hi {{ name }}", Fillings(contact={"name": None}))
    assert caught.value.problems[0].field == "name"


def test_variables_are_found_in_the_content() -> None:
    assert checked_variables(text(WELCOME)) == ("name", "shop_name", "discount_code")
    content = (
        "{{ attributes.tier }}{% assign x = code %}{{ x }}{% for i in cart %}{{ i }}{% endfor %}{{ account.name }}"
    )
    assert set(variables_of(content)) == {"code", "cart"}


def test_a_variable_that_is_not_listed_and_one_that_is_not_used_are_named() -> None:
    with pytest.raises(InvalidContent) as caught:
        checked_variables(text("{{ code }} {{ name }}", ("coupon",)))
    reasons = [problem.reason for problem in caught.value.problems]
    assert reasons == ["code is used by the content, but not listed", "coupon is listed, but not used by the content"]


def test_fields_of_the_contact_may_be_listed_or_not() -> None:
    assert checked_variables(text("{{ name }} {{ attributes.tier }}", ())) == ()
    assert checked_variables(text("Hi", ("name", "attributes.tier"))) == ("name", "attributes.tier")


@pytest.mark.parametrize(
    "content",
    [
        "{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{7*7}}",
        "{{ name",
        "{{}}",
        "{% if %}",
        "{% for %}",
        "{% include 'a' %}",
        "{% render '/etc/passwd' %}",
        "{% liquid\necho name %}",
        "{% layout 'a' %}",
        "{% tablerow i in (1..3) %}{% endtablerow %}",
        "{% import os %}",
        "{{ " + "9" * 5_000 + " }}",
        "{% if " + "a and " * 1_500 + "a %}x{% endif %}",
        "{{ " + "a[" * 3_000 + "1" + "]" * 3_000 + " }}",
        "{% if a %}" * 500 + "{% endif %}" * 500,
        "{% if name %}" * 12 + "{% endif %}" * 12,
        "{{a}}" * 1_000,
        "{% assign r = (1..999999999999) %}{% if r contains 'a' %}x{% endif %}",
        "{% for i in (1..999999999999) offset: 999999999990 %}x{% endfor %}",
        "{% for i in (1..n) %}x{% endfor %}",
        "{{ (1..999999999999) | join: ',' }}",
        "{{ attributes }}",
        "   ",
        "x" * (LONGEST_CONTENT + 1),
    ],
)
def test_what_is_no_template_or_too_large_a_one_is_refused(content: str) -> None:
    assert "content" in problems(text(content))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{{ name | escape }}", "Ann &amp; &lt;Bob&gt;"),
        ("{{ '&lt; &' | escape_once }}", "&lt; &amp;"),
        ("{{ 'a%20b+c' | url_decode }}", "a b c"),
        ("{% capture x %}a\nb{% endcapture %}{{ x | newline_to_br }}", "a<br />\nb"),
        ("{{ 'b,a,C' | split: ',' | sort | join: ' ' }}", "C a b"),
        ("{{ 'b,a,C' | split: ',' | sort_natural | join: ' ' }}", "a b C"),
        ("{% assign x = 'a' | split: ',' %}{{ x | concat: x | join: '' }}", "aa"),
        ("{{ '1,2.5,3' | split: ',' | sum }}", "6.5"),
    ],
)
def test_the_common_filters_are_there(content: str, text: str) -> None:
    assert render(content, replace(ANN, contact={"name": "Ann & <Bob>", "username": "ann"})) == text


def test_a_filter_that_is_not_there_is_named_before_it_is_used() -> None:
    with pytest.raises(InvalidContent) as refused:
        variables_of(
            "{{ name | upcase | base64_decode }}{% assign x = name | bogus: 1 %}{% if false %}{{ 1 | c }}{% endif %}"
        )
    assert [each.reason.rpartition(": ")[2] for each in refused.value.problems] == ["base64_decode", "bogus", "c"]


@pytest.mark.parametrize(
    "content",
    [
        "{{ '1e999999999,1' | split: ',' | sum }}",
        "{% assign x = 'a,b,c' | split: ',' %}{% for i in (1..20) %}{% assign x = x | concat: x %}{% endfor %}{{ x }}",
        "{% assign x = '<' %}{% for i in (1..20) %}{% assign x = x | append: x | escape %}{% endfor %}{{ x }}",
        NUMBER_BOMB,
        TEXT_BOMB,
        PRODUCT,
        "{% for a in (1..100) %}{% for b in (1..3) %}" + "{{ name }}" * 90 + "{% endfor %}{% endfor %}",
        "{% assign x = 'a' %}{% for i in (1..30) %}{% assign x = x | replace: '', x %}{% endfor %}{{ x }}",
        "{% assign x = 'a,b' %}{% for i in (1..200) %}{% assign x = x | split: '' | join: x %}{% endfor %}{{ x }}",
        "{% for i in (1..300) %}" + "x" * 9_000 + "{% endfor %}",
        "{% assign x = 'ab' %}{% for i in (1..14) %}{% assign x = x | append: x %}{% endfor %}{{ x }}",
        "{{ '1e999999999' | ceil }}",
        "{{ '9' | times: '1e9999' }}",
        "{{ 9 | divided_by: 0 }}",
        "{{ '2026-01-15' | date: '%99999999d' }}",
        "{{ 'soon' | date: '%d' }}",
        "{{ name | no_such_filter }}",
        "{{ 'a' | base64_decode }}",
    ],
)
def test_a_rendering_that_is_too_much_work_ends(content: str) -> None:
    with pytest.raises(UnrenderableTemplate):
        render(content, ANN)


@given(st.text(alphabet=st.sampled_from(string.printable + "{}%|'\"äあ"), max_size=200))
def test_any_text_is_a_template_or_is_refused_as_none(content: str) -> None:
    try:
        variables_of(content)
        render(content, ANN)
    except InvalidContent as error:
        assert error.problems  # noqa: PT017  # a refusal is as right as a text, and names what is wrong


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\r"), max_size=200))
def test_what_fills_a_variable_is_never_read_as_a_template(value: str) -> None:
    assert render("{{ code }}", replace(ANN, given={"code": value + "{{ name }}"})) == value + "{{ name }}"


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        (TemplateDraft("text", "a", options=(QuickReply("Yes"),)), "options"),
        (TemplateDraft("text", "a", buttons=(Button("Shop", "https://example.com"),)), "buttons"),
        (TemplateDraft("quick_reply", "a"), "options"),
        (TemplateDraft("quick_reply", "a", options=(QuickReply("x"),) * 21), "options"),
        (TemplateDraft("quick_reply", "a", options=(QuickReply("x" * 37),)), "options.0.label"),
        (TemplateDraft("quick_reply", "a", options=(QuickReply(" "),)), "options.0.label"),
        (TemplateDraft("quick_reply", "a", options=(QuickReply("x", "y" * 73),)), "options.0.description"),
        (TemplateDraft("quick_reply", "a", options=(QuickReply("x", "y"), QuickReply("z"))), "options.1.description"),
        (TemplateDraft("quick_reply", "a", options=(QuickReply("x", None, "m" * 1_001),)), "options.0.metadata"),
        (TemplateDraft("card", "a"), "buttons"),
        (TemplateDraft("card", "a", buttons=(Button("Shop", "https://example.com"),) * 4), "buttons"),
        (TemplateDraft("card", "a", buttons=(Button("x" * 37, "https://example.com"),)), "buttons.0.label"),
        (TemplateDraft("card", "a", buttons=(Button("Shop", "javascript:alert(1)"),)), "buttons.0.url"),
        (TemplateDraft("card", "a", buttons=(Button("Shop", "https://"),)), "buttons.0.url"),
        (TemplateDraft("card", "a", buttons=(Button("Shop", "https://example.com:port/"),)), "buttons.0.url"),
        (TemplateDraft("card", "a", buttons=(Button("Shop", "https://example.com/a b"),)), "buttons.0.url"),
    ],
)
def test_a_template_has_what_its_type_takes(draft: TemplateDraft, field: str) -> None:
    assert list(problems(draft)) == [field]


def test_the_most_that_a_type_takes_is_taken() -> None:
    option = QuickReply("x" * 36, "y" * 72, "m" * 1_000)
    assert checked_variables(TemplateDraft("quick_reply", "a", options=(option,) * 20)) == ()
    button = Button("x" * 36, "https://example.com/path?q=1#here")
    assert checked_variables(TemplateDraft("card", "x" * LONGEST_CONTENT, buttons=(button,) * 3)) == ()
