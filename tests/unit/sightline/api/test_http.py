"""HTTP as clients and proxies use it: HEAD, validators, ranges, compression, parameters, and slow clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from schemas.events import FrameEvent
from sightline.api.server import Server, listen
from sightline.api.slow_clients import DeadlineProtocol
from tests.unit.sightline.api.deployment import Deployment, deployed

pytestmark = pytest.mark.asyncio(loop_scope="module")
KINDS = ((("red", "circle"),), (("blue", "square"), ("green", "star")), (("yellow", "ring"),))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    async with deployed(tmp_path_factory.mktemp("http")) as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def frame(site: Deployment) -> FrameEvent:
    events = await site.world.add(site.pictures(*KINDS), feed="lobby")
    return events[0]


async def test_head_is_get_without_the_content(site: Deployment, frame: FrameEvent) -> None:
    for path in ("/", "/app.js", "/api/status", f"/api/frames/{frame.id}", f"/api/frames/{frame.id}/image", "/metrics"):
        got, head = await site.client.get(path), await site.client.head(path)
        assert (head.status_code, head.content) == (200, b""), path
        assert head.headers["content-type"] == got.headers["content-type"]
    image = f"/api/frames/{frame.id}/image"
    assert (await site.client.head(image)).headers == (await site.client.get(image)).headers
    assert (await site.client.head("/api/frames/none")).status_code == 404
    stream = await asyncio.wait_for(site.client.head("/api/events"), 10)
    assert (stream.status_code, stream.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


async def test_unchanged_answers_are_not_sent_again(site: Deployment, frame: FrameEvent) -> None:
    paths = ("/style.css", "/api/examples", f"/api/frames/{frame.id}", f"/api/frames/{frame.id}/thumbnail")
    for path in (*paths, f"/api/frames/{frame.id}/annotated", "/api/search?q=a+circle"):
        first = await site.client.get(path)
        tag = first.headers["etag"]
        for known in (tag, f'"other", {tag}', f"W/{tag.removeprefix('W/')}", "*"):
            again = await site.client.get(path, headers={"if-none-match": known})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag), path
        assert (await site.client.get(path, headers={"if-none-match": '"other"'})).status_code == 200


async def test_pictures_have_byte_ranges(site: Deployment, frame: FrameEvent) -> None:
    path = f"/api/frames/{frame.id}/image"
    whole = await site.client.get(path)
    size = len(whole.content)
    assert whole.headers["accept-ranges"] == "bytes"
    for asked, content, told in (
        ("bytes=0-9", whole.content[:10], f"bytes 0-9/{size}"),
        ("bytes=10-", whole.content[10:], f"bytes 10-{size - 1}/{size}"),
        ("bytes=-7", whole.content[-7:], f"bytes {size - 7}-{size - 1}/{size}"),
        (f"bytes=5-{size * 2}", whole.content[5:], f"bytes 5-{size - 1}/{size}"),
    ):
        part = await site.client.get(path, headers={"range": asked, "accept-encoding": "gzip"})
        assert (part.status_code, part.content, part.headers["content-range"]) == (206, content, told)
        assert "content-encoding" not in part.headers
    beyond = await site.client.get(path, headers={"range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    for unread in ("bytes=0-1,4-5", "bytes=9-3", "lines=1-2", "bytes=-"):
        assert (await site.client.get(path, headers={"range": unread})).status_code == 200, unread
    changed = await site.client.get(path, headers={"range": "bytes=0-9", "if-range": '"other"'})
    assert (changed.status_code, changed.content) == (200, whole.content)


async def test_json_and_the_page_are_compressed(site: Deployment, frame: FrameEvent) -> None:
    for path in ("/style.css", "/api/search?q=a+circle", f"/api/frames/{frame.id}"):
        plain = await site.client.get(path, headers={"accept-encoding": "identity"})
        packed = await site.client.get(path, headers={"accept-encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert "accept-encoding" in packed.headers["vary"].lower()
        assert packed.content == plain.content
        assert int(packed.headers["content-length"]) < len(plain.content)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/api/search?q=x&feeds=lobby", "this address has no parameter 'feeds'; did you mean 'feed'?"),
        ("/api/search?q=x&offset=3", "this address has no parameter 'offset'; it has q, feed, label"),
        ("/api/search?q=x&since=1h&since=2h", "the parameter 'since' is given 2 times; give it once"),
        ("/api/status?verbose=1", "this address has no parameter 'verbose', and takes none"),
        ("/api/search?since=2026-11-22&until=2026-11-20", "is not before until"),
        ("/api/search?q=x&feed=loby", "there is no feed 'loby' in the index; nearest: lobby"),
        ("/api/search?q=x&label=sqare", "there is no label 'sqare' in the index; nearest: square"),
        ("/api/search?like=zzz", "'zzz' is no picture's id"),
        ("/api/search?q=x&limit=0", "limit is 1 to 200"),
        ("/api/search?q=x&cursor=zzz", "'zzz' is no cursor of a search"),
    ],
)
async def test_what_is_not_understood_is_told(site: Deployment, frame: FrameEvent, path: str, sentence: str) -> None:
    assert frame
    answer = await site.client.get(path)
    assert answer.status_code == 400
    assert sentence in answer.json()["error"]["message"]


async def test_a_filter_with_a_known_name_beside_an_unknown_one_is_answered(
    site: Deployment, frame: FrameEvent
) -> None:
    result = (await site.client.get("/api/search?feed=lobby&feed=loby")).json()
    assert frame.id in {hit["id"] for hit in result["hits"]}
    assert result["unknown_names"] == [{"kind": "feed", "name": "loby", "nearest": ["lobby"]}]


async def test_the_host_is_compared_without_case(site: Deployment) -> None:
    hosts = {"LocalHost:8000": 200, "127.0.0.1": 200, "10.1.2.3:8000": 200, "[fd00::7]:8000": 200, "evil.example": 421}
    for host, status in hosts.items():
        assert (await site.client.get("/api/status", headers={"host": host})).status_code == status


async def test_no_message_tells_of_insides(site: Deployment) -> None:
    told = await site.client.post("/api/search/image", content=b"\x00\x01\x02no picture")
    assert told.status_code == 422
    assert told.json()["error"]["message"].startswith("this is no picture of a kind that is read; send JPEG")
    damaged = await site.client.post("/api/search/image", content=b"\xff\xd8\xff\xe0" + b"\x00" * 40)
    assert damaged.json()["error"]["message"] == "this picture is damaged and cannot be read"


async def test_a_search_before_the_first_frame_says_that_nothing_is_there(tmp_path: Path) -> None:
    async with deployed(tmp_path) as empty:
        for collection in await empty.world.index.collections():
            await empty.world.index.remove(collection)
        result = (await empty.client.get("/api/search?q=a+red+circle")).json()
        assert (result["nothing_matches"], result["contents"]["pictures"], result["hits"]) == (True, 0, [])
        like = await empty.client.get("/api/search?like=00000000-0000-5000-8000-000000000000")
        assert like.status_code == 404
        assert like.json()["error"]["message"] == "no picture 00000000-0000-5000-8000-000000000000 in the index"
        assert (await empty.client.get("/api/examples")).json() == {"examples": []}


class Impatient(DeadlineProtocol):
    header_seconds, body_seconds, reading_seconds = 0.3, 0.5, 0.5


@asynccontextmanager
async def connected(folder: Path) -> AsyncIterator[int]:
    async with deployed(folder) as site:
        server, listener = Server(site.app, Impatient), listen("127.0.0.1", 0)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await serving


async def closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_a_client_that_is_too_slow_loses_its_connection(tmp_path: Path) -> None:
    request = b"GET /api/status HTTP/1.1\r\nhost: 127.0.0.1\r\n"
    upload = b"POST /api/search/image HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 1000\r\n\r\n"
    async with connected(tmp_path) as port:
        for sent in (b"", b"GET /api", request, upload + b"x" * 10, request + b"\r\n" + request):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent)
            received = await asyncio.wait_for(reader.read(), 10)
            assert b" 408 " in received, sent
            await closed(writer)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request + b"\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        await closed(writer)


async def test_an_event_stream_outlives_the_deadlines(tmp_path: Path) -> None:
    async with connected(tmp_path) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /api/events HTTP/1.1\r\nhost: 127.0.0.1\r\naccept-encoding: gzip\r\n\r\n")
        statuses = 0
        async with asyncio.timeout(20):
            while statuses < 12:
                line = await reader.readline()
                assert line
                statuses += line.startswith(b"event: status")
        await closed(writer)
