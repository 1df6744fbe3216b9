"""Cameras that send damaged pictures, other things than pictures, or passwords in which a character is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from schemas import topics
from schemas.codec import decode_observed
from streams.clock import SystemClock
from streams.sources.fetcher import FetchSettings
from streams.sources.live import LiveSource
from streams.sources.playback import Playback
from streams.sources.source import DAMAGED, Offer, Picture, Refusal, Shed, UnreadableSource
from streams.sources.source_choice import RemoteOptions, choose_source
from streams.sources.url_guard import ForbiddenUrl
from tests.contract.source_suite import ingest_target, offers_of
from tests.support.pictures import encoded, scene
from tests.support.videos import write_video
from tests.unit.streams.sources.test_live import DEADLINE_SECONDS, SOON, http_server, playlist

Answer = Callable[[web.Request], object]


def camera(*jpegs: bytes, first: bytes = b"--B\r\n", kind: str = "image/jpeg") -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "multipart/x-mixed-replace; boundary=B"})
        await response.prepare(request)
        await response.write(first)
        for jpeg in jpegs:
            head = f"Content-Type: {kind}\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            await response.write(head.encode() + jpeg + b"\r\n--B\r\n")
        await asyncio.Event().wait()
        return response

    return answer


async def first_offers(source: LiveSource, pictures: int) -> list[Offer]:
    """Everything up to this number of pictures."""
    shown: list[Offer] = []
    async with asyncio.timeout(DEADLINE_SECONDS), aclosing(source.offers(lambda _: False)) as offers:
        async for offer in offers:
            shown.append(offer)
            if sum(isinstance(each, Picture) for each in shown) == pictures:
                return shown
    raise AssertionError(shown)


def damaged(offers: list[Offer]) -> int:
    return sum(offer.count for offer in offers if isinstance(offer, Shed) and offer.reason == DAMAGED)


async def test_damaged_pictures_of_a_camera_are_dropped_and_counted(tmp_path: Path) -> None:
    jpeg = encoded(scene(1))
    middle = len(jpeg) // 2
    broken = (jpeg[:middle], jpeg[:middle] + bytes(400) + jpeg[middle + 400 :])
    async with http_server(web.get("/video", camera(jpeg, *broken, jpeg[:-2], jpeg))) as port:  # type: ignore[arg-type]
        url = f"http://127.0.0.1:{port}/video"
        shown = await first_offers(LiveSource(url, SOON, SystemClock()), 3)
        assert damaged(shown) == 2
        async with ingest_target(tmp_path) as target:
            limited = LiveSource(url, replace(SOON, limit=3), SystemClock())
            summary = await target.ingest(limited)
            assert (summary.accepted, summary.damaged, summary.shed) == (3, 2, 0)
            ends = await target.log.ends(topics.OBSERVED)
            records = [record for p, (a, b) in ends.items() for record in await target.log.read(p, a, max(1, b - a))]
    (observed,) = [decode_observed(record.value, record.headers) for record in records]
    assert (observed.state, observed.reason, observed.count) == ("shed", DAMAGED, 2)


@pytest.mark.parametrize(("first", "kind"), [(b"", "image/jpeg"), (b"--B\r\n", "image/jpg"), (b"", "image/jpg")])
async def test_cameras_without_a_first_boundary_or_with_another_type_are_read(first: bytes, kind: str) -> None:
    jpegs = [encoded(scene(number)) for number in range(3)]
    async with http_server(web.get("/video", camera(*jpegs, first=first, kind=kind))) as port:  # type: ignore[arg-type]
        source = LiveSource(f"http://127.0.0.1:{port}/video", SOON, SystemClock())
        assert len(await first_offers(source, 3)) == 3


async def test_damaged_video_of_a_camera_is_dropped_and_counted_up_to_the_next_keyframe(tmp_path: Path) -> None:
    content = bytearray(write_video(tmp_path / "a.ts", frames=30, keyframes=10, detailed=True).read_bytes())
    content[len(content) // 2 : len(content) // 2 + 60] = bytes(60)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=bytes(content), content_type="video/mp2t")

    async with http_server(playlist("a.ts"), web.get("/a.ts", answer)) as port:
        source = LiveSource(f"http://127.0.0.1:{port}/live.m3u8", SOON, SystemClock())
        shown = await first_offers(source, 15)
    assert 1 <= damaged(shown) <= 10


@pytest.mark.parametrize(
    ("content", "kind", "told"),
    [
        (encoded(scene(1)), "image/jpeg", r"sends one picture \(image/jpeg\), not a stream; .*sightline ingest -"),
        (b"\0\0\0\x18ftypmp42" + bytes(100), "video/mp4", r"sends a file \(video/mp4\), not a stream; download it"),
        (b"<html>Log in</html>", "text/html", "sends text/html, not a stream; give the URL"),
    ],
)
async def test_a_url_that_is_no_camera_says_what_came(content: bytes, kind: str, told: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=content, content_type=kind)

    async with http_server(web.get("/x", answer)) as port:
        source = LiveSource(f"http://127.0.0.1:{port}/x", SOON, SystemClock())
        with pytest.raises(UnreadableSource, match=told):
            await first_offers(source, 1)


async def test_a_playlist_under_any_name_is_read(tmp_path: Path) -> None:
    segment = write_video(tmp_path / "a.ts").read_bytes()
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n#EXT-X-ENDLIST\n"

    async def listed(request: web.Request) -> web.Response:
        return web.Response(text=text, content_type="application/x-mpegURL")

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=segment)

    async with http_server(web.get("/live", listed), web.get("/a.ts", answer)) as port:
        source = LiveSource(f"http://127.0.0.1:{port}/live", SOON, SystemClock())
        assert len([offer for offer in await first_offers(source, 3) if isinstance(offer, Picture)]) == 3


@pytest.mark.parametrize("password", ["12#34", "p#34", "12/34", "p/34", "12?34"])
@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https"])
async def test_a_password_with_a_special_character_is_told_once_and_not_shown(scheme: str, password: str) -> None:
    source = LiveSource(f"{scheme}://admin:{password}@10.0.0.5/live", SOON, SystemClock())
    with pytest.raises(ForbiddenUrl, match="write special characters of a password as %XX") as told:
        await source.total()
    assert "34" not in str(told.value).partition(";")[0]


async def test_a_path_with_an_at_sign_is_no_password() -> None:
    for url in ("rtsp://10.0.0.5/user@home", "rtsp://admin:p%2334@10.0.0.5:554/a@b", "http://10.0.0.5/@x"):
        await LiveSource(url, SOON, SystemClock()).total()


async def test_a_stream_under_a_pictures_name_is_told_and_can_be_read() -> None:
    async with http_server(web.get("/video.jpg", camera(encoded(scene(1))))) as port:  # type: ignore[arg-type]
        url, remote = f"http://127.0.0.1:{port}/video.jpg", RemoteOptions(fetch=FetchSettings(allow=("127.0.0.1",)))
        source = choose_source(url, Playback(), SystemClock(), remote)
        (refusal,) = await offers_of(source)
        assert isinstance(refusal, Refusal)
        assert refusal.message == (
            f"{url}: sends a stream (multipart/x-mixed-replace) without an end; "
            "to read it as a camera, add #mjpeg to the URL"
        )
        source = choose_source(f"{url}#mjpeg", Playback(limit=1), SystemClock(), remote)
        assert isinstance(source, LiveSource)
        assert len(await first_offers(source, 1)) == 1


async def test_what_is_no_picture_is_named_with_what_it_is() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="<html>", content_type="text/html")

    async with http_server(web.get("/a.jpg", answer)) as port:
        remote = RemoteOptions(fetch=FetchSettings(allow=("127.0.0.1",)))
        (refusal,) = await offers_of(choose_source(f"http://127.0.0.1:{port}/a.jpg", Playback(), SystemClock(), remote))
    assert isinstance(refusal, Refusal)
    assert refusal.message.endswith(", it sends text/html")
