"""No hostile URL opens a connection: an audit hook sees every attempt of this process to connect."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from aiohttp import web

from streams.errors import Unavailable
from streams.sources.http_get import http_get
from streams.sources.url_guard import ForbiddenUrl, UrlGuard, redacted

_watching: list[list[Any]] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        for seen in _watching:
            seen.append(arguments[1])


sys.addaudithook(_hook)


@pytest.fixture
def connected() -> Iterator[list[Any]]:
    seen: list[Any] = []
    _watching.append(seen)
    yield seen
    _watching.remove(seen)


NAMES = {
    "loopback.example": ["127.0.0.1"],
    "mixed.example": ["93.184.215.14", "10.0.0.5"],
    "metadata.example": ["169.254.169.254"],
    "six.example": ["::1"],
    "zoned.example": ["fe80::1%eth0"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "nothing.example": [],
    "127.1": ["127.0.0.1"],
    "2130706433": ["127.0.0.1"],
    "0x7f.1": ["127.0.0.1"],
    "017700000001": ["127.0.0.1"],
    "public.example": ["93.184.215.14"],
}


async def names(host: str, port: int) -> Sequence[str]:
    if host not in NAMES:
        raise OSError("no such name")
    return NAMES[host]


HOSTILE = [
    "http://127.0.0.1/",
    "http://127.0.0.1:22/",
    "http://127.8.8.8/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f.1/",
    "http://017700000001/",
    "http://0.0.0.0/",
    "http://0.1.2.3/",
    "http://10.0.0.1/",
    "http://100.100.100.200/latest/meta-data",
    "http://168.63.129.16/machine",
    "http://169.254.169.254/latest/meta-data/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.0.0.192/",
    "http://192.0.2.1/",
    "http://192.88.99.1/",
    "http://192.168.1.1/admin",
    "http://198.18.0.1/",
    "http://203.0.113.9/",
    "http://224.0.0.1/",
    "http://239.255.255.250:1900/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    "http://[::]/",
    "http://[::1]/",
    "http://[::127.0.0.1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:53aa:64c::1]/",
    "http://[2001:db8::1]/",
    "http://[2600:1234::5efe:7f00:1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/latest/meta-data",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[::1",
    "http://loopback.example/",
    "http://mixed.example/",
    "http://metadata.example/",
    "http://six.example/",
    "http://zoned.example/",
    "http://mapped.example/",
    "http://nothing.example/",
    "http://unknown.example/",
    "http://public.example:0/",
    "http://public.example:99999/",
    "http://user:password@public.example/",
    "http://public.example@127.0.0.1/",
    "http://127.0.0.1#@public.example/",
    "http://127.0.0.1\\@public.example/",
    "http://public.example\t/",
    "http://public.example/\r\nHost: localhost",
    "http:///etc/passwd",
    "http://",
    "//127.0.0.1/",
    "file:///etc/passwd",
    "ftp://public.example/",
    "gopher://127.0.0.1:6379/_FLUSHALL",
    "unix:///run/docker.sock",
    "concat:http://127.0.0.1/|file:///etc/passwd",
    "data:image/png;base64,AAAA",
    "http://ｌｏｃａｌｈｏｓｔ/",
    "http://127。0。0。1/",
    "http://public.example/" + "a" * 3_000,
]


@pytest.mark.parametrize("url", HOSTILE)
async def test_a_hostile_url_is_refused_and_opens_no_connection(url: str, connected: list[Any]) -> None:
    with pytest.raises(ForbiddenUrl) as refused:
        await http_get(url, UrlGuard(resolve=names), timeout_seconds=5)
    assert connected == []
    assert "password" not in str(refused.value)


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.1"])
async def test_answers_of_the_systems_resolver_are_checked(host: str, connected: list[Any]) -> None:
    with pytest.raises(ForbiddenUrl):
        await http_get(f"http://{host}:9/", UrlGuard(), timeout_seconds=5)
    assert [address for address in connected if address[1] == 9 and address[0] in ("127.0.0.1", "::1")] == []


@pytest.mark.parametrize("text", ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses_pass(text: str) -> None:
    assert UrlGuard().permits(ip_address(text))


@asynccontextmanager
async def server(*routes: web.RouteDef) -> AsyncIterator[int]:
    application = web.Application()
    application.add_routes(routes)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


LOCAL = (ip_network("127.0.0.1/32"),)


def redirects(where: str) -> web.RouteDef:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": where})

    return web.get("/", answer)


@pytest.mark.parametrize(
    "where",
    ["http://169.254.169.254/", "http://127.0.0.2/", "//10.0.0.1/", "file:///etc/passwd", "http://[::1]/", "/"],
)
async def test_every_redirect_is_checked_and_their_number_is_limited(where: str, connected: list[Any]) -> None:
    async with server(redirects(where)) as port:
        with pytest.raises(ForbiddenUrl):
            await http_get(f"http://127.0.0.1:{port}/", UrlGuard(allow=LOCAL, resolve=names))
        assert {address[0] for address in connected} == {"127.0.0.1"}
        assert len(connected) <= 6


async def test_a_name_is_resolved_once() -> None:
    """DNS rebinding: the answer to a second lookup would lead elsewhere, but there is no second lookup."""
    lookups = 0

    async def rebinding(host: str, port: int) -> Sequence[str]:
        nonlocal lookups
        lookups += 1
        return ["127.0.0.1"] if lookups == 1 else ["127.0.0.2"]

    async def hello(request: web.Request) -> web.Response:
        return web.Response(body=b"hello", content_type="image/png")

    async with server(web.get("/", hello)) as port:
        fetched = await http_get(f"http://rebinding.example:{port}/", UrlGuard(allow=LOCAL, resolve=rebinding))
    assert (fetched.content, fetched.content_type, lookups) == (b"hello", "image/png", 1)


async def test_a_body_is_limited_while_it_arrives() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(bytes(1 << 16))

    async with server(web.get("/", endless)) as port:
        with pytest.raises(ForbiddenUrl, match="more than 100000 bytes"):
            await http_get(f"http://127.0.0.1:{port}/", UrlGuard(allow=LOCAL), max_bytes=100_000)


@pytest.mark.parametrize(("status", "error"), [(404, ForbiddenUrl), (503, Unavailable), (429, Unavailable)])
async def test_the_status_says_whether_to_retry(status: int, error: type[Exception]) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status)

    async with server(web.get("/", answer)) as port:
        with pytest.raises(error, match=str(status)):
            await http_get(f"http://127.0.0.1:{port}/?key=secret", UrlGuard(allow=LOCAL))


async def test_a_stopped_server_is_unavailable() -> None:
    async with server() as port:
        pass
    with pytest.raises(Unavailable):
        await http_get(f"http://127.0.0.1:{port}/", UrlGuard(allow=LOCAL), timeout_seconds=2)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://admin:s3cret@cam.example:554/live?token=abc#x", "rtsp://cam.example:554/live"),
        ("http://a:b@c@host/path", "http://host/path"),
        ("http://host:8080", "http://host:8080"),
        ("http://user:pa/ss@host/", "http://…"),
        ("rtsp://user:1234?5@host/", "rtsp://…"),
        ("http://user:pa#ss@host/", "http://…"),
        ("http://host/?mail=me@secret", "http://…"),
        ("s3cret", "(no URL)"),
        ("http://host/\x1b[31m", "http://host/?[31m"),
    ],
)
def test_a_logged_url_contains_no_secret(url: str, shown: str) -> None:
    assert redacted(url) == shown
