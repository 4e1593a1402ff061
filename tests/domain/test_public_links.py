from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.public_links import LinkRefused, checked_addresses, is_public, link_of, redirected

PRIVATE = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450::1"]


def in_link(address: str) -> str:
    return f"http://[{address}]/a.png" if ":" in address else f"http://{address}/a.png"


@pytest.mark.parametrize("address", PRIVATE)
def test_what_is_not_public_is_refused_as_a_host_and_as_an_answer(address: str) -> None:
    assert not is_public(ip_address(address))
    with pytest.raises(LinkRefused):
        link_of(in_link(address))
    with pytest.raises(LinkRefused):
        checked_addresses(["8.8.8.8", address])


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_taken(address: str) -> None:
    assert link_of(in_link(address)).address == ip_address(address)
    assert checked_addresses([address]) == [ip_address(address)]


def test_an_address_with_a_zone_is_not_public() -> None:
    assert not is_public(IPv6Address("2606:4700::1%eth0"))
    with pytest.raises(LinkRefused):
        link_of("http://[2606:4700::1%25eth0]/")


@pytest.mark.parametrize(
    "url",
    [
        # other ways to write an address
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0x7f.0.0.1/",
        "http://017700000001/",
        "http://0177.0.0.1/",
        "http://0127.0.0.1/",
        "http://127.1/",
        "http://127.0.1/",
        "http://127.0.0.01/",
        "http://127.0.0.1./",
        "http://1.2.3.4.5/",
        "http://8.8.8.0x8/",
        "http://8.8.2056/",
        "http://256.1.1.1/",
        "http://0/",
        "http://①②⑦.⓪.⓪.①/",
        "http://127。0。0。1/",
        "http://\uff11\uff12\uff17.0.0.1/",
        "http://[::ffff:7f00:1]/",
        "http://[::1/",
        "http://[127.0.0.1]/",
        "http://[v1.x]/",
        # names of this machine and its network
        "http://localhost/",
        "http://LOCALHOST/",
        "http://localhost./",
        "http://a.localhost/",
        "http://ⓛocalhost/",
        "http://mongodb/",
        "http://printer.local/",
        "http://metadata.google.internal/",
        "http://1.0.0.127.in-addr.arpa/",
        # not plain
        "http://user@example.com/",
        "http://user:secret@example.com/",
        "http://@example.com/",
        "http://example.com@127.0.0.1/",
        "http://127.0.0.1#@example.com/",
        "http://127.0.0.1\\@example.com/",
        "http://example.com\\.evil.test/",
        "http:\\\\example.com/",
        "http://exa mple.com/",
        "http://example.com/a\r\nHost: x",
        "http://example.com/\x00",
        "\thttp://example.com/",
        "http://%31%32%37.0.0.1/",
        "http://exam%2eple.com/",
        "http://-bad.example/",
        "http://a..example/",
        "http://" + "a" * 64 + ".example/",
        "http://" + "a." * 127 + "example/",
        "http://example.com/" + "a" * 2048,
        # ports
        "http://example.com:22/",
        "http://example.com:8080/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:-1/",
        "http://example.com:a/",
        # schemes
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "//example.com/",
        "example.com/a.png",
        "https:",
        "http://",
        "http:///a.png",
        "",
    ],
)
def test_what_is_no_plain_link_to_the_public_web_is_refused(url: str) -> None:
    with pytest.raises(LinkRefused):
        link_of(url)


@pytest.mark.parametrize(
    ("url", "one_form"),
    [
        ("https://example.com/tracking.png", "https://example.com/tracking.png"),
        ("HTTPS://EXAMPLE.com", "https://example.com/"),
        ("https://example.com.:443/a?b=c#d", "https://example.com/a?b=c"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("https://bücher.example/ä b".replace(" ", "%20"), "https://xn--bcher-kva.example/%C3%A4%20b"),
        ("https://example.com/%2e%2e/x", "https://example.com/%2e%2e/x"),
        ("https://[2606:4700:4700:0::1111]/", "https://[2606:4700:4700::1111]/"),
    ],
)
def test_a_link_has_one_form(url: str, one_form: str) -> None:
    assert link_of(url).url == one_form
    assert link_of(one_form).url == one_form


def test_where_private_addresses_are_allowed_they_are_on_any_port() -> None:
    assert link_of("http://127.0.0.1:8080/a", private_allowed=True).port == 8080
    assert link_of("http://localhost/a", private_allowed=True).host == "localhost"
    assert checked_addresses(["::1"], private_allowed=True) == [ip_address("::1")]
    with pytest.raises(LinkRefused):
        link_of("http://user@127.0.0.1/", private_allowed=True)


@pytest.mark.parametrize(
    "location",
    ["http://127.0.0.1/", "//169.254.169.254/", "http://example.com/", "file:///etc/passwd", "http://[", "/a\r\nb"],
)
def test_a_redirect_is_checked_like_any_link(location: str) -> None:
    with pytest.raises(LinkRefused):
        redirected(link_of("https://example.com/a"), location)


def test_a_redirect_may_be_relative() -> None:
    assert redirected(link_of("https://example.com/a/b?c"), "../d").url == "https://example.com/d"
    assert redirected(link_of("http://example.com/"), "https://www.example.com/").scheme == "https"


@pytest.mark.parametrize("found", [[], ["not an address"], ["fe80::1%eth0"]])
def test_an_answer_that_holds_no_public_address_is_refused(found: list[str]) -> None:
    with pytest.raises(LinkRefused):
        checked_addresses(found)


@given(st.ip_addresses(v=4))
def test_no_address_that_python_calls_private_is_public(address: IPv4Address) -> None:
    if address.is_private or address.is_multicast or address.is_reserved or address.is_loopback:
        assert not is_public(address)


@given(st.ip_addresses(v=6))
def test_no_v6_address_that_python_calls_private_is_public(address: IPv6Address) -> None:
    if address.is_private or address.is_multicast or address.is_link_local or address.is_site_local:
        assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_inside_another_is_never_public(address: IPv4Address) -> None:
    number = int(address)
    for carrier in (0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80, number):
        assert not is_public(IPv6Address(carrier))


@given(st.text(max_size=40))
def test_any_text_is_a_link_or_refused(text: str) -> None:
    for url in (text, f"http://{text}/", f"http://example.com/{text}"):
        try:
            link = link_of(url)
        except LinkRefused:
            continue
        assert link_of(link.url).url == link.url
        assert link.url.isascii()
