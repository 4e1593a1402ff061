from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidContent
from domain.outgoing_content import LinkAttachment, check_additions, content_fields, content_of, link_to_upload
from domain.templates import Button, QuickReply

NOW = datetime(2026, 1, 18, 10, 0, tzinfo=UTC)
OPTIONS = st.builds(QuickReply, st.text(), st.none() | st.text(), st.none() | st.text())
BUTTONS = st.builds(Button, st.text(), st.text())


@given(st.text(), st.lists(OPTIONS, max_size=3), st.lists(BUTTONS, max_size=3))
def test_a_document_holds_what_is_sent(text: str, options: list[QuickReply], buttons: list[Button]) -> None:
    content = content_of(content_fields("text", text, options, buttons))
    assert (content.text, content.media_id) == (text, None)
    assert content.options == tuple(options)
    assert content.buttons == tuple(buttons)


def test_a_plain_text_has_no_further_fields() -> None:
    assert content_fields("text", "hello") == {"type": "text", "content": "hello"}


def test_an_attachment_is_to_be_uploaded_until_x_has_it_for_long_enough() -> None:
    message: dict[str, object] = {"content": "look", "attachments": [{"type": "gif", "url": "https://example.com/a"}]}
    link = LinkAttachment("gif", "https://example.com/a")
    assert link_to_upload(message, NOW) == link
    message["media"] = {"id": "77", "until": NOW + timedelta(seconds=1)}
    assert link_to_upload(message, NOW) is None
    assert content_of(message).media_id == "77"
    assert link_to_upload(message, NOW + timedelta(seconds=1)) == link


def test_without_attachment_there_is_nothing_to_upload() -> None:
    assert link_to_upload({"content": "hello", "attachments": []}, NOW) is None
    assert link_to_upload({"content": "hello"}, NOW) is None


@pytest.mark.parametrize(
    ("type_", "options", "buttons", "field"),
    [
        ("quick_reply", [], [], "options"),
        ("card", [], [], "buttons"),
        ("text", [QuickReply("Yes")], [], "options"),
        ("quick_reply", [QuickReply("Yes")], [Button("Open", "https://example.com")], "buttons"),
        ("quick_reply", [QuickReply("Yes", "a"), QuickReply("No")], [], "options.1.description"),
        ("card", [], [Button("Open", "ftp://example.com")], "buttons.0.url"),
    ],
)
def test_additions_belong_to_their_type(
    type_: str, options: list[QuickReply], buttons: list[Button], field: str
) -> None:
    with pytest.raises(InvalidContent) as refused:
        check_additions(type_, options, buttons)  # type: ignore[arg-type]
    assert [problem.field for problem in refused.value.problems] == [field]


def test_what_fits_passes() -> None:
    check_additions("text", [], [])
    check_additions("quick_reply", [QuickReply("Yes")], [])
    check_additions("card", [], [Button("Open", "https://example.com")])
