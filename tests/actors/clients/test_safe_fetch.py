from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from actors.clients.safe_fetch import FetchFailed, Resolve, SafeAnswer, SafeFetch, SafeRequest, safe_fetch_of
from config.settings import Settings
from domain.public_links import LinkRefused
from tests.actors.clients.web_server import CHUNK, Site, serving_site

PUBLIC = "93.184.215.14"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving_site() as site:
        yield site


@pytest.fixture
def anywhere() -> SafeFetch:
    return SafeFetch(private_allowed=True)


def answers(*each: list[str]) -> tuple[Resolve, list[str]]:
    """Return a name server that gives these answers one after the other, and the names that it was asked for."""
    left, names = list(each), []

    async def resolve(host: str, port: int) -> list[str]:
        names.append(host)
        if not left:
            raise OSError("unknown")
        return left.pop(0)

    return resolve, names


async def body_of(answer: SafeAnswer, most_bytes: int = 10_000) -> bytes:
    return b"".join([chunk async for chunk in answer.chunks(most_bytes)])


async def fetched(fetch: SafeFetch, url: str, **more: object) -> bytes:
    async with fetch.open(SafeRequest(url, **more)) as answer:  # type: ignore[arg-type]
        return await body_of(answer)


async def test_a_public_link_is_fetched_without_anything_of_ours(site: Site, monkeypatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    site.put("/a.png", b"content")
    async with SafeFetch(private_allowed=True).open(SafeRequest(f"{site.url}/a.png?b=c")) as answer:
        assert (answer.status, answer.is_compressed) == (200, False)
        assert await body_of(answer) == b"content"
    (asked,) = site.asked
    assert asked.query_string == "b=c"
    assert set(asked.headers) == {"Host", "Accept", "User-Agent", "Accept-Encoding", "Connection"}
    assert asked.headers["Accept-Encoding"] == "identity"


async def test_a_call_has_the_method_headers_and_body_that_it_is_given(site: Site, anywhere: SafeFetch) -> None:
    site.put("/hook", b"", status=201)
    request = SafeRequest(f"{site.url}/hook", "POST", {"X-Shop": "1"}, b"{}")
    async with anywhere.open(request) as answer:
        assert answer.status == 201
    assert (site.asked[0].method, site.asked[0].headers["X-Shop"]) == ("POST", "1")


# --- where to


async def test_loopback_is_not_called(site: Site) -> None:
    with pytest.raises(LinkRefused):
        await fetched(SafeFetch(), f"{site.url}/a.png")
    assert site.asked == []


@pytest.mark.parametrize(
    "found",
    [["127.0.0.1"], [PUBLIC, "10.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["fe80::1%eth0"], []],
)
async def test_a_name_that_leads_inside_is_not_called(found: list[str]) -> None:
    resolve, names = answers(found)
    with pytest.raises(LinkRefused):
        await fetched(SafeFetch(resolve=resolve), "http://rebound.example/a.png")
    assert names == ["rebound.example"]


async def test_a_name_is_resolved_once_and_the_connection_goes_to_that_answer(site: Site) -> None:
    site.put("/a.png", b"content")
    resolve, names = answers(["127.0.0.1"], ["192.0.2.1"])
    fetch = SafeFetch(private_allowed=True, resolve=resolve)
    port = site.url.rsplit(":", 1)[1]
    assert await fetched(fetch, f"http://shop.test:{port}/a.png") == b"content"
    assert names == ["shop.test"]
    assert site.asked[0].headers["Host"] == f"shop.test:{port}"


async def test_a_name_that_is_public_at_first_and_private_at_the_next_hop_is_not_called(site: Site) -> None:
    site.redirects["/a"] = "http://rebound.example/b"
    resolve, names = answers(["169.254.169.254"])
    fetch = SafeFetch(resolve=resolve, stands_in={"first.example": site.url})
    with pytest.raises(LinkRefused):
        await fetched(fetch, "http://first.example/a")
    assert names == ["rebound.example"]
    assert [asked.path for asked in site.asked] == ["/a"]


async def test_the_addresses_that_were_checked_are_those_that_are_called(monkeypatch) -> None:
    called: list[tuple[str, int]] = []

    async def connect(*, addr_infos, **_):
        called.extend(info[4][:2] for info in addr_infos)
        raise OSError("far away")

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", connect)
    resolve, names = answers([PUBLIC, "2606:2800::1"], ["127.0.0.1"])
    with pytest.raises(FetchFailed, match="could not be fetched"):
        await fetched(SafeFetch(resolve=resolve), "http://shop.example/a.png")
    assert set(called) == {(PUBLIC, 80), ("2606:2800::1", 80)}
    assert names == ["shop.example"]


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "http://0x7f.1/", "http://[::1]/", "file:///etc/passwd"])
async def test_a_redirect_inside_is_not_followed(site: Site, url: str) -> None:
    site.redirects["/a"] = url
    with pytest.raises(LinkRefused):
        await fetched(SafeFetch(stands_in={"first.example": site.url}), "http://first.example/a")


async def test_a_redirect_from_https_to_http_is_not_followed(site: Site) -> None:
    site.redirects["/a"] = "http://first.example/b"
    with pytest.raises(LinkRefused, match="https"):
        await fetched(SafeFetch(stands_in={"first.example": site.url}), "https://first.example/a")


async def test_redirects_are_followed_without_cookies(site: Site, anywhere: SafeFetch) -> None:
    site.redirects |= {"/1": "/2", "/2": f"{site.url}/3"}
    site.put("/3", b"content")
    assert await fetched(anywhere, f"{site.url}/1") == b"content"
    assert all("Cookie" not in asked.headers for asked in site.asked)


async def test_a_loop_of_redirects_ends(site: Site, anywhere: SafeFetch) -> None:
    site.redirects |= {"/1": "/2", "/2": "/1"}
    with pytest.raises(FetchFailed, match="redirects more than 3 times"):
        await fetched(anywhere, f"{site.url}/1")
    assert len(site.asked) == 4


async def test_a_post_is_not_redirected(site: Site, anywhere: SafeFetch) -> None:
    site.redirects["/1"] = "/2"
    async with anywhere.open(SafeRequest(f"{site.url}/1", "POST", body=b"x")) as answer:
        assert answer.status == 302
    assert len(site.asked) == 1


# --- how long, how much


@pytest.mark.parametrize("path", ["/drip", "/silence"])
async def test_the_whole_call_has_one_time_limit(site: Site, anywhere: SafeFetch, path: str) -> None:
    with pytest.raises(FetchFailed, match="in time"):
        await fetched(anywhere, site.url + path, timeout_s=0.3)


async def test_a_name_server_that_does_not_answer_is_within_the_limit() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        await never.wait()
        return []

    never = asyncio.Event()
    with pytest.raises(FetchFailed, match="in time"):
        await fetched(SafeFetch(resolve=resolve), "http://slow.example/", timeout_s=0.1)


async def test_what_announces_itself_as_too_large_is_not_read(site: Site, anywhere: SafeFetch) -> None:
    site.put("/a.png", bytes(10_001))
    with pytest.raises(FetchFailed, match="too large"):
        await fetched(anywhere, f"{site.url}/a.png")
    site.put("/a.png", bytes(10_000))
    assert len(await fetched(anywhere, f"{site.url}/a.png")) == 10_000


async def test_an_endless_body_is_given_up_at_the_limit(site: Site, anywhere: SafeFetch) -> None:
    async with anywhere.open(SafeRequest(f"{site.url}/endless")) as answer:
        with pytest.raises(FetchFailed, match="larger than 1 MB"):
            await body_of(answer, 1024 * 1024)
    assert site.written < 1000 * CHUNK


async def test_a_compressed_body_is_said_to_be_one_and_not_inflated(site: Site, anywhere: SafeFetch) -> None:
    async with anywhere.open(SafeRequest(f"{site.url}/bomb")) as answer:
        assert answer.is_compressed
        assert len(await body_of(answer, 1024 * 1024)) < 100_000


@pytest.mark.parametrize(("most_bytes", "expected"), [(4, b"cont"), (7, b"content"), (100, b"content")])
async def test_the_beginning_of_a_body_is_no_more_than_asked_for(
    site: Site, anywhere: SafeFetch, most_bytes: int, expected: bytes
) -> None:
    async with anywhere.open(SafeRequest(site.put("/a.txt", b"content"))) as answer:
        assert await answer.beginning(most_bytes) == expected


async def test_the_beginning_of_an_endless_body_is_had_and_of_a_broken_one_is_not(
    site: Site, anywhere: SafeFetch
) -> None:
    async with anywhere.open(SafeRequest(f"{site.url}/endless")) as answer:
        assert len(await answer.beginning(1024)) == 1024
    async with anywhere.open(SafeRequest(f"{site.url}/broken")) as answer:
        with pytest.raises(FetchFailed):
            await answer.beginning(1024)


async def test_a_body_that_breaks_off_has_failed(site: Site, anywhere: SafeFetch) -> None:
    with pytest.raises(FetchFailed, match="broke off"):
        await fetched(anywhere, f"{site.url}/broken")


async def test_where_nobody_listens_the_fetch_has_failed(anywhere: SafeFetch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(FetchFailed, match="could not be fetched"):
            await fetched(anywhere, f"http://127.0.0.1:{free.getsockname()[1]}/")


async def test_a_name_that_is_not_known_has_failed() -> None:
    resolve, _ = answers()
    with pytest.raises(FetchFailed, match="can't be found"):
        await fetched(SafeFetch(resolve=resolve), "http://nobody.example/")


async def test_the_machine_itself_resolves_names(site: Site, anywhere: SafeFetch) -> None:
    site.put("/a.png", b"content")
    assert await fetched(anywhere, site.url.replace("127.0.0.1", "localhost") + "/a.png") == b"content"


# --- settings


async def test_by_default_nothing_private_is_called_and_nothing_stands_in(site: Site) -> None:
    with pytest.raises(LinkRefused):
        await fetched(safe_fetch_of(Settings()), f"{site.url}/a.png")


async def test_the_settings_allow_private_addresses_and_a_stand_in(site: Site) -> None:
    site.put("/web/tracking.png", b"content")
    settings = Settings(fetch_private_addresses=True, example_sites_url=f"{site.url}/web")
    for url in ("https://example.com/tracking.png", f"{site.url}/web/tracking.png"):
        assert await fetched(safe_fetch_of(settings), url) == b"content"
