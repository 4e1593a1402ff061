from __future__ import annotations

import random
import string
from collections import Counter
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.tracked_links import CODE_LENGTH, LinkRewriter, code_in, is_preview, location_of, new_code

BASE = "https://go.example"
BROWSER = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile Safari/604.1"


def rewriter():
    numbers = count()
    return LinkRewriter(lambda _: f"code{next(numbers)}", BASE)


def rewritten(text):
    """Return a text with `<n>` for its n-th link, and the targets."""
    made = rewriter()
    text = made.text(text)
    for number, link in enumerate(made.links):
        text = text.replace(f"{BASE}/l/{link.code}", f"<{number}>")
    return text, [link.url for link in made.links]


# --- finding


@pytest.mark.parametrize(
    ("text", "expected", "urls"),
    [
        ("https://a.example", "<0>", ["https://a.example"]),
        ("see http://a.example/x?y=1#z now", "see <0> now", ["http://a.example/x?y=1#z"]),
        ("HTTPS://A.example/X", "<0>", ["HTTPS://A.example/X"]),
        ("http://127.0.0.1:8080/x", "<0>", ["http://127.0.0.1:8080/x"]),
        # What ends the sentence is no part of it.
        ("Go to https://a.example. Now!", "Go to <0>. Now!", ["https://a.example"]),
        ("https://a.example/x, https://a.example/y!", "<0>, <1>!", ["https://a.example/x", "https://a.example/y"]),
        ("https://a.example/x?!…", "<0>?!…", ["https://a.example/x"]),
        ("'https://a.example/x' *https://b.example/y*", "'<0>' *<1>*", ["https://a.example/x", "https://b.example/y"]),
        ("“https://a.example/x”", "“<0>”", ["https://a.example/x"]),
        ('<a href="https://a.example/x">', '<a href="<0>">', ["https://a.example/x"]),
        ("https://a.example/it's", "<0>", ["https://a.example/it's"]),
        ("https://a.example/a.b,c;d", "<0>", ["https://a.example/a.b,c;d"]),
        # Brackets belong to it as far as they were opened in it.
        ("(https://a.example/x)", "(<0>)", ["https://a.example/x"]),
        ("(see https://a.example/b_(c)), ok?", "(see <0>), ok?", ["https://a.example/b_(c)"]),
        ("[https://a.example/?a[]=1]", "[<0>]", ["https://a.example/?a[]=1"]),
        # Text in a script that addresses don't go on with.
        ("詳しくはhttps://shop.jp/saleをご覧ください。", "詳しくは<0>をご覧ください。", ["https://shop.jp/sale"]),
        ("https://shop.jpをご覧", "<0>をご覧", ["https://shop.jp"]),
        ("https://shop.th/สินค้า", "<0>สินค้า", ["https://shop.th/"]),
        # Names and paths that are not ASCII.
        ("https://ví-dụ.vn/áo-dài.", "<0>.", ["https://ví-dụ.vn/áo-dài"]),
        ("https://x.việt/", "<0>", ["https://x.việt/"]),
        ("https://例え.テスト/a", "<0>", ["https://例え.テスト/a"]),
        ("https://пример.рф/путь", "<0>", ["https://пример.рф/путь"]),
        # Nothing unseen gets into it.
        ("https://a.example/\u200bx", "<0>\u200bx", ["https://a.example/"]),
        ("https://a.example/\x07x", "<0>\x07x", ["https://a.example/"]),
        ("https://a.example\\@b.example", "<0>\\@b.example", ["https://a.example"]),
    ],
)
def test_links_are_found_as_x_finds_them(text, expected, urls):
    assert rewritten(text) == (expected, urls)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "No link here.",
        "http://",
        "https://...",
        "https:// a.example",
        "https:///x",
        "ftp://a.example",
        "javascript:alert(1)",
        "mailto:a@b.example",
        "a.example/x",
        "xhttps://a.example",
        "@https://a.example",
        "https://a.example:0/",
        "https://a.example:99999/x",
    ],
)
def test_a_text_without_links_stays_as_it_is(text):
    assert rewritten(text) == (text, [])


def test_a_target_that_is_named_twice_has_one_link_also_over_texts():
    made = rewriter()
    assert made.text("https://a.example, https://a.example!") == f"{BASE}/l/code0, {BASE}/l/code0!"
    assert made.url("https://a.example") == f"{BASE}/l/code0"
    assert made.url("https://b.example/x y") == "https://b.example/x y"
    assert [link.url for link in made.links] == ["https://a.example"]


words = st.text("abc .,()!を\n", max_size=12)
targets = st.sampled_from(["https://a.example/x", "http://b.example/?q=1", "https://c.example"])


@given(st.sampled_from(["", "https://", "(https://a.example/", "https://a.example?"]), st.text())
def test_any_text_comes_back_with_its_links_put_in(before, after):
    text = before + after
    made = rewriter()
    changed = made.text(text)
    for link in made.links:
        assert location_of(link.url)
        changed = changed.replace(f"{BASE}/l/{link.code}", link.url)
    assert changed == text


@given(st.lists(st.tuples(words, targets), max_size=6), words)
def test_links_between_words_are_all_found(parts, end):
    text = "".join(f"{before} {target} " for before, target in parts) + end
    made = rewriter()
    changed = made.text(text)
    assert {link.url for link in made.links} == {target for _, target in parts}
    assert changed == "".join(f"{before} {made.url(target)} " for before, target in parts) + end


@pytest.mark.parametrize(
    "text",
    ["https://" + "a." * 5_000, "https://" * 1_200, "https://" + "a@" * 5_000, "https://a.example/" + ")" * 9_900],
)
def test_a_text_that_is_made_to_be_hard_is_gone_through(text):
    changed, urls = rewritten(text)
    assert len(urls) <= 1
    assert changed.endswith(text[-1]) or urls


# --- codes


def test_a_code_has_letters_and_digits_and_its_length():
    code = new_code(random.Random(1).randbytes)
    assert len(code) == CODE_LENGTH == 11
    assert set(code) <= set(string.ascii_letters + string.digits)
    assert code_in(code) == code


def test_every_character_is_as_likely_as_any_other_in_every_place():
    source = random.Random(7)
    codes = [new_code(source.randbytes) for _ in range(20_000)]
    assert len(set(codes)) == len(codes)
    for place in range(CODE_LENGTH):
        counts = Counter(code[place] for code in codes)
        expected = len(codes) / 62
        assert len(counts) == 62
        # The 99.99th percentile of chi squared with 61 degrees of freedom is 112.
        assert sum((each - expected) ** 2 / expected for each in counts.values()) < 112


def test_bytes_that_would_make_some_characters_likelier_are_left_out():
    bytes_ = iter([bytes([255, 248, 250, 249] + [0] * 7), bytes([247] * 11)])
    assert new_code(lambda _: next(bytes_)) == "0" * 7 + "Z" * 4


@pytest.mark.parametrize("after", ["", ".", "'s", ")", "/", "。", "é", ",https://x"])
def test_what_comes_after_a_code_is_not_looked_at(after):
    assert code_in("4fGh2kLmN0p" + after) == "4fGh2kLmN0p"


@pytest.mark.parametrize(
    "text", ["", "4fGh2kLmN0", "4fGh2kLmN0p1", "4fGh2kLmN0_", " 4fGh2kLmN0p", "\u0660" * 11, "é" * 11]
)
def test_what_can_be_no_code_is_none(text):
    assert code_in(text) is None


@given(st.text(string.ascii_letters + string.digits, min_size=11, max_size=11))
def test_every_text_of_its_characters_may_be_a_code(text):
    assert code_in(text) == text


# --- where a link may lead


@given(st.text())
def test_a_location_is_plain_visible_ascii_of_the_web(text):
    for url in (text, f"https://{text}", f"https://a.example/{text}"):
        location = location_of(url)
        if location is not None:
            assert location.isascii()
            assert not set(location) & set(string.whitespace + "\\\0\x7f")
            assert location.lower().startswith(("http://", "https://"))
            assert location == url or not url.isascii()


@pytest.mark.parametrize(
    "url",
    ["", "/x", "//a.example", "a.example", "javascript:alert(1)", "data:,x", "https:///x", "https:x", "https://[::1"],
)
def test_nobody_is_led_to_what_is_no_web_address(url):
    assert location_of(url) is None


def test_what_is_encoded_already_stays_as_it_is():
    assert location_of("https://a.example/%2f%20~?a={b}&c=[d]|e") == "https://a.example/%2f%20~?a={b}&c=[d]|e"
    assert location_of("https://a.example/đ") == "https://a.example/%C4%91"


# --- who follows


@pytest.mark.parametrize(
    "agent",
    [
        BROWSER,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36",
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Twitter for iPhone/11",
        "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36 Telegram-Android/11.4",
        "Mozilla/5.0 (Linux; Android 10; CUBOT X30) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36",
    ],
)
def test_a_browser_is_a_person(agent):
    assert not is_preview("GET", {"User-Agent": agent})
    assert not is_preview("GET", {"user-agent": agent, "Purpose": ""})


@pytest.mark.parametrize(
    "agent",
    [
        "",
        "  ",
        "Twitterbot/1.0",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
        "facebookexternalhit/1.1",
        "Slack-ImgProxy (+https://api.slack.com/robots)",
        "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        "http.rb/5.1.1 (Mastodon/4.2.0; +https://mastodon.example/)",
        "GuzzleHttp/7",
        "WhatsApp/2.23",
        "TelegramBot (like TwitterBot)",
        "curl/8.5.0",
        "python-requests/2.32",
        "Go-http-client/2.0",
        "Mozilla/5.0 HeadlessChrome/140.0",
        "Mozilla/5.0 (compatible; BingPreview/1.0b)",
    ],
)
def test_a_program_is_none(agent):
    assert is_preview("GET", {"User-Agent": agent})


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("HEAD", {}),
        ("head", {}),
        ("GET", {"Purpose": "prefetch"}),
        ("GET", {"Sec-Purpose": "prefetch;prerender"}),
        ("GET", {"X-Purpose": "Preview"}),
        ("GET", {"X-Moz": "prefetch"}),
    ],
)
def test_a_page_that_is_loaded_ahead_is_not_followed(method, headers):
    assert is_preview(method, {"User-Agent": BROWSER} | headers)


def test_who_says_nothing_of_itself_is_a_program():
    assert is_preview("GET", {})
