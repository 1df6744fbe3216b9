"""Cameras against real servers: RTSP by GStreamer, MJPEG and HLS over HTTP; killed, restarted, and hostile."""

from __future__ import annotations

import asyncio
import base64
import signal
import socket
import subprocess
import threading
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from aiohttp import web

from schemas import topics
from schemas.codec import decode_observed
from streams.clock import ManualClock, SystemClock
from streams.lifecycle.deletions import Deletions
from streams.sources.acceptor import Acceptor
from streams.sources.drop_oldest_queue import DropOldestQueue
from streams.sources.ingest_counts import IngestCounts
from streams.sources.live import LiveSettings, LiveSource, LiveState
from streams.sources.live_input import StreamOptions, live_protocol
from streams.sources.raw_frames import RawFrames
from streams.sources.source import DAMAGED, Picture, Shed
from streams.sources.url_guard import ForbiddenUrl
from streams.sources.uuid7 import uuid7
from streams.transport import Record
from tests.contract.source_suite import FEED, TENANT, ingest_target
from tests.support.pictures import encoded, scene
from tests.support.videos import write_video

DEADLINE_SECONDS = 60.0
SERVER = Path(__file__).parents[3] / "support" / "rtsp_server.py"
SYSTEM_PYTHON = "/usr/bin/python3"
SOON = LiveSettings(first_pause_seconds=0.02, max_pause_seconds=0.2, stream=StreamOptions(timeout_seconds=5.0))


def no_rtsp_server() -> bool:
    """Whether Debian's bindings for GStreamer are missing."""
    probe = "import gi; gi.require_version('GstRtspServer', '1.0')"
    return not Path(SYSTEM_PYTHON).exists() or subprocess.run([SYSTEM_PYTHON, "-c", probe], check=False).returncode != 0


needs_rtsp_server = pytest.mark.skipif(
    no_rtsp_server(), reason="needs gir1.2-gst-rtsp-server-1.0, python3-gi (apt.txt)"
)


@asynccontextmanager
async def rtsp_server(port: int = 0, *credentials: str) -> AsyncIterator[tuple[Process, int]]:
    process = await asyncio.create_subprocess_exec(SYSTEM_PYTHON, str(SERVER), str(port), *credentials, stdout=PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            ready = (await process.stdout.readline()).split()
        yield process, int(ready[1])
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def first(source: LiveSource, count: int) -> list[Picture]:
    shown: list[Picture] = []
    async with asyncio.timeout(DEADLINE_SECONDS), aclosing(source.offers(lambda _: False)) as offers:
        async for offer in offers:
            if isinstance(offer, Picture):
                shown.append(offer)
            if len(shown) == count:
                break
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("source")]
    return shown


def session(picture: Picture) -> str:
    return picture.position.split(":")[1]


@needs_rtsp_server
async def test_a_camera_that_restarts_is_read_again_in_a_new_session() -> None:
    states: list[LiveState] = []
    async with rtsp_server() as (process, port):
        source = LiveSource(f"rtsp://127.0.0.1:{port}/live", SOON, SystemClock(), on_state=states.append)
        sessions: list[str] = []
        async with asyncio.timeout(DEADLINE_SECONDS), aclosing(source.offers(lambda _: False)) as offers:
            async for offer in offers:
                assert isinstance(offer, Picture | Shed)
                if isinstance(offer, Picture) and session(offer) not in sessions:
                    sessions.append(session(offer))
                    if len(sessions) == 2:
                        break
                    process.send_signal(signal.SIGKILL)
                    await process.wait()
                    successor = rtsp_server(port)
                    await successor.__aenter__()
        await successor.__aexit__(None, None, None)
    assert sessions == sorted(sessions)
    assert [state.connected for state in states][:2] == [True, False]
    assert states[-1].connected
    assert all(state.retry_in_seconds > 0 for state in states if not state.connected)


@needs_rtsp_server
async def test_frames_of_a_camera_have_sizes_stamps_and_times() -> None:
    async with rtsp_server() as (_, port):
        before = SystemClock().now()
        shown = await first(LiveSource(f"rtsp://127.0.0.1:{port}/live", SOON, SystemClock()), 5)
        stamps = [int(picture.position.split(":")[2]) for picture in shown]
        assert stamps == sorted(set(stamps))
        for picture in shown:
            assert (picture.width, picture.height) == (160, 96)
            assert picture.captured is not None
            assert before <= picture.captured.timestamp() <= SystemClock().now()


@needs_rtsp_server
async def test_credentials_open_the_camera_and_are_not_shown() -> None:
    states: list[LiveState] = []
    async with rtsp_server(0, "admin", "s3cret") as (_, port):
        good = LiveSource(f"rtsp://admin:s3cret@127.0.0.1:{port}/live", SOON, SystemClock())
        assert len(await first(good, 1)) == 1
        clock = ManualClock()
        wrong = LiveSource(f"rtsp://admin:wr0ng@127.0.0.1:{port}/live", SOON, clock, on_state=states.append)
        await until_asleep(wrong, clock)
    assert "401" in states[0].message
    assert f"127.0.0.1:{port}" in states[0].message
    assert "wr0ng" not in repr(states)


async def until_asleep(source: LiveSource, clock: ManualClock, rounds: int = 1) -> None:
    """Let the source fail and wait `rounds` times."""

    async def run() -> None:
        async with aclosing(source.offers(lambda _: False)) as offers:
            await anext(offers)

    task = asyncio.create_task(run())
    async with asyncio.timeout(DEADLINE_SECONDS):
        for _ in range(rounds):
            while not clock.sleepers:
                assert not task.done()
                await asyncio.wait([task], timeout=0.005)
            clock.advance(60.0 if rounds > 1 else 0.0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@needs_rtsp_server
async def test_only_keyframes_are_decoded() -> None:
    async with rtsp_server() as (_, port):
        settings = LiveSettings(stream=StreamOptions(keyframes_only=True))
        shown = await first(LiveSource(f"rtsp://127.0.0.1:{port}/live", settings, SystemClock()), 3)
    stamps = [int(picture.position.split(":")[2]) for picture in shown]
    assert stamps[2] - stamps[1] == 10 * 90_000 // 20, "a keyframe every ten frames at 20 a second"


async def test_pauses_grow_with_every_failure() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        states: list[LiveState] = []
        clock = ManualClock()
        settings = LiveSettings(first_pause_seconds=1.0, max_pause_seconds=8.0)
        source = LiveSource(f"http://127.0.0.1:{port}/video", settings, clock, on_state=states.append)
        await until_asleep(source, clock, rounds=6)
    pauses = [state.retry_in_seconds for state in states[:6]]
    assert pauses[0] <= 1.0
    assert 8.0 * 0.67 <= pauses[4] <= 8.0
    assert pauses[0] < pauses[2] < pauses[4]


@asynccontextmanager
async def http_server(*routes: web.RouteDef, host: str = "127.0.0.1") -> AsyncIterator[int]:
    application = web.Application()
    application.add_routes(routes)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def mjpeg(frames: int, *, needs: str = "") -> Callable[[web.Request], object]:
    async def answer(request: web.Request) -> web.StreamResponse:
        if needs and request.headers.get("Authorization") != needs:
            return web.Response(status=401)
        response = web.StreamResponse(headers={"Content-Type": "multipart/x-mixed-replace; boundary=frame"})
        await response.prepare(request)
        with suppress(ConnectionResetError):  # the reader has seen enough
            for number in range(frames):
                jpeg = encoded(scene(number))
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                await response.write(head.encode() + jpeg + b"\r\n")
                await asyncio.sleep(0)  # the loop is the reader's, too
        return response

    return answer


async def test_mjpeg_over_http_in_several_connections() -> None:
    async with http_server(web.get("/video", mjpeg(3))) as port:  # type: ignore[arg-type]
        shown = await first(LiveSource(f"http://127.0.0.1:{port}/video", SOON, SystemClock()), 7)
    assert len({session(picture) for picture in shown}) >= 2
    assert len({picture.position for picture in shown}) == 7
    pixels = cv2.imdecode(np.frombuffer(shown[0].content, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    assert pixels.shape == (120, 160, 3)


async def test_repeated_connections_leak_nothing() -> None:
    async with http_server(web.get("/video", mjpeg(3))) as port:  # type: ignore[arg-type]
        source = LiveSource(f"http://127.0.0.1:{port}/video", SOON, SystemClock())
        await first(source, 4)
        before = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
        for _ in range(25):
            await first(source, 4)
        files, threads = len(list(Path("/proc/self/fd").iterdir())), threading.active_count()
    assert files <= before[0] + 4, "the server may not have closed its side of the last connections"
    assert threads <= before[1] + 4, "the loop's own pool grows to its size"


async def test_mjpeg_with_a_password_that_has_every_character() -> None:
    wanted = "Basic " + base64.b64encode(b"admin:p@ss/w:rd?#").decode()
    async with http_server(web.get("/video", mjpeg(2, needs=wanted))) as port:  # type: ignore[arg-type]
        url = f"http://admin:p%40ss%2Fw%3Ard%3F%23@127.0.0.1:{port}/video"
        assert len(await first(LiveSource(url, SOON, SystemClock()), 1)) == 1


def playlist(*segments: str) -> web.RouteDef:
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n" + "".join(f"#EXTINF:2,\n{name}\n" for name in segments)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{text}#EXT-X-ENDLIST\n", content_type="application/vnd.apple.mpegurl")

    return web.get("/live.m3u8", answer)


async def test_hls_segments_come_through_the_guard(tmp_path: Path) -> None:
    segment = write_video(tmp_path / "a.ts").read_bytes()

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=segment, content_type="video/mp2t")

    async with http_server(playlist("a.ts"), web.get("/a.ts", answer)) as port:
        shown = await first(LiveSource(f"http://127.0.0.1:{port}/live.m3u8", SOON, SystemClock()), 3)
    assert len(shown) == 3


@pytest.mark.parametrize("where", ["http://127.0.0.2:{port}/a.ts", "file:///etc/passwd", "http://169.254.169.254/a.ts"])
async def test_a_playlist_does_not_lead_to_private_addresses(tmp_path: Path, where: str) -> None:
    """The operator typed 127.0.0.1; 127.0.0.2 is private too, and was not typed."""
    requested: list[str] = []
    segment = write_video(tmp_path / "a.ts").read_bytes()

    async def answer(request: web.Request) -> web.Response:
        requested.append(request.path)
        return web.Response(body=segment)

    async with (
        http_server(web.get("/a.ts", answer), host="127.0.0.2") as inner,
        http_server(playlist(where.format(port=inner))) as port,
    ):
        clock, states = ManualClock(), list[LiveState]()
        source = LiveSource(f"http://127.0.0.1:{port}/live.m3u8", SOON, clock, on_state=states.append)
        await until_asleep(source, clock)
    assert requested == []
    assert not states[0].connected


async def test_a_url_that_can_never_be_opened_is_reported_at_once() -> None:
    with pytest.raises(ForbiddenUrl):
        await LiveSource("http://admin:pass/word@/", SOON, SystemClock()).total()


@pytest.mark.parametrize(
    ("spec", "protocol"),
    [
        ("0", "v4l2"),
        ("/dev/video12", "v4l2"),
        ("rtsp://cam/1", "rtsp"),
        ("RTSPS://cam/1", "rtsp"),
        ("https://host/a/B.M3U8?x=1", "hls"),
        ("http://host/video", "mjpeg"),
        ("ftp://host/a", None),
        ("clip.mp4", None),
        ("2026", None),
    ],
)
def test_the_form_of_a_source_says_whether_it_is_live(spec: str, protocol: str | None) -> None:
    assert live_protocol(spec) == protocol


async def test_a_missing_webcam_is_waited_for() -> None:
    clock, states = ManualClock(), list[LiveState]()
    await until_asleep(LiveSource("/dev/video99", SOON, clock, on_state=states.append), clock)
    assert states[0].message == "/dev/video99: No such file or directory"


async def test_the_newest_values_are_kept_and_dropped_ones_are_counted() -> None:
    queue = DropOldestQueue[int](asyncio.get_running_loop(), 4)
    for number in range(10):
        await asyncio.to_thread(queue.put, number)
    queue.lose(DAMAGED)
    assert await queue.take() == [Shed(6), Shed(1, DAMAGED), 6]
    assert [await queue.take() for _ in range(3)] == [[7], [8], [9]]
    queue.close(OSError("cable"))
    with pytest.raises(OSError, match="cable"):
        await queue.take()


async def test_dropped_frames_are_one_record_per_minute(tmp_path: Path) -> None:
    clock = ManualClock()
    async with ingest_target(tmp_path) as target:
        acceptor = Acceptor(
            transport=target.log,
            blobs=target.blobs,
            clock=clock,
            frames=RawFrames(tenant=TENANT, feed=FEED, kind="frame", clock=clock, inline_limit_bytes=0),
            counts=IngestCounts(report=lambda _: None, total=None),
            accepted=None,
            deletions=Deletions(target.log),
        )
        for _ in range(130):
            await acceptor.take([Shed(3)])
            clock.advance(1.0)
        await acceptor.publish_shed()
        records = list[Record]()
        for partition, (start, end) in (await target.log.ends(topics.OBSERVED)).items():
            records += await target.log.read(partition, start, max(1, end - start))
    observed = [decode_observed(record.value, record.headers) for record in records]
    assert [shed.state for shed in observed] == ["shed"] * 3
    assert sum(shed.count for shed in observed) == 390 == acceptor.counts.summary().shed
    assert len({record.headers["ce_id"] for record in records}) == 3


def test_session_names_are_uuids_of_version_7_and_sort_by_time() -> None:
    names = [uuid7(1_700_000_000 + number) for number in range(20)]
    assert names == sorted(names)
    assert {(name[14], name[19] in "89ab") for name in names} == {("7", True)}
