from __future__ import annotations

import os
import socket
from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.identity import check_name
from streams.clock import SystemClock
from streams.sources.feed_names import feed_name, slug
from streams.sources.images import ImagesSource
from streams.sources.live import LiveSource
from streams.sources.objects import ObjectsSource
from streams.sources.playback import Playback, VideoSource
from streams.sources.source import UnreadableSource
from streams.sources.source_choice import RemoteOptions, choose_source
from streams.sources.urls import UrlsSource
from tests.contract.source_suite import offers_of, pictures, refusals
from tests.support.pictures import encoded, scene
from tests.support.videos import write_video


async def test_the_content_of_a_file_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "picture.mp4").write_bytes(encoded(scene(1)))
    write_video(tmp_path / "real.mp4").rename(tmp_path / "video.jpg")
    picture = choose_source(str(tmp_path / "picture.mp4"), Playback(), SystemClock())
    assert len(pictures(await offers_of(picture))) == 1
    assert isinstance(choose_source(str(tmp_path / "video.jpg"), Playback(), SystemClock()), VideoSource)
    assert isinstance(choose_source(f"{tmp_path}/*.mp4", Playback(), SystemClock()), ImagesSource)
    assert isinstance(choose_source("rtsp://cam/1", Playback(), SystemClock()), LiveSource)
    assert isinstance(choose_source("0", Playback(), SystemClock()), LiveSource)
    assert isinstance(choose_source("-", Playback(), SystemClock()), UrlsSource)
    (tmp_path / "list").write_text("# pictures\n\nhttps://host/1.jpg\n")
    assert isinstance(choose_source(str(tmp_path / "list"), Playback(), SystemClock()), UrlsSource)
    assert isinstance(choose_source("https://host/1.JPG?size=large", Playback(), SystemClock()), UrlsSource)
    assert isinstance(choose_source("https://host/cam.mjpg", Playback(), SystemClock()), LiveSource)
    assert isinstance(choose_source("s3://bucket/prefix", Playback(), SystemClock()), ObjectsSource)
    assert isinstance(choose_source(f"file://{tmp_path}", Playback(), SystemClock()), ObjectsSource)


def test_only_an_object_store_is_followed(tmp_path: Path) -> None:
    remote = RemoteOptions(follow_seconds=10.0)
    assert isinstance(choose_source("s3://bucket", Playback(), SystemClock(), remote), ObjectsSource)
    with pytest.raises(UnreadableSource, match="only s3"):
        choose_source(str(tmp_path), Playback(), SystemClock(), remote)


async def test_a_file_with_brackets_in_its_name_is_that_file(tmp_path: Path) -> None:
    path = tmp_path / "a[1].jpg"
    path.write_bytes(encoded(scene(1)))
    assert len(pictures(await offers_of(choose_source(str(path), Playback(), SystemClock())))) == 1


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("missing", "check the path"),
        ("missing/*.jpg", "quote it"),
        ("empty", "JPEG, PNG, WebP"),
        ("secret.jpg", "permissions"),
        ("closed", "permissions"),
        ("nul\0byte", "check the path"),
        ("file/below", "check the path"),
        ("ftp://user:s3cret@host/a", "use rtsp"),
    ],
)
async def test_an_unreadable_source_raises_its_path_and_what_to_do(tmp_path: Path, name: str, advice: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "secret.jpg").touch(mode=0)
    (tmp_path / "closed").mkdir(mode=0)
    if name in ("secret.jpg", "closed") and os.access(tmp_path / "secret.jpg", os.R_OK):
        advice = "not a video|no files"  # a superuser can read any file
    spec = name if "://" in name else str(tmp_path / name)
    with pytest.raises(UnreadableSource, match=advice) as refused:
        await choose_source(spec, Playback(), SystemClock()).total()
    assert spec.replace("user:s3cret@", "") in str(refused.value)


@pytest.mark.parametrize(
    ("spec", "feed"),
    [
        ("clips/Front Door (2).MP4", "front-door-2"),
        ("/data/ko\u0308ln.mov", "köln"),
        ("日本.mp4", "日本"),
        ("/data/北门 1", "北门-1"),
        ("Москва.mkv", "москва"),
        ("https://host/%E5%8C%97%E9%97%A8/1.jpg", "host-北门-1"),
        ("..", None),
        ("a..b.mp4", "a.b"),
        ("-", "standard-input"),
        ("photos/*.jpg", "photos"),
        ("*.jpg", None),
        (f"{'x' * 100}.mp4", f"{'x' * 54}-09ecb6eb"),
        ("_-.mp4", "feed-c0e8d119"),
        ("0", "camera-0"),
        ("/dev/video2", "camera-2"),
        ("rtsp://admin:s3cret@cam-1.local:554/stream/1?key=s3cret", "cam-1.local-stream-1"),
        ("https://host/yard.m3u8", "host-yard"),
        ("https://user:s3cret@host/yard/1.jpg?key=s3cret", "host-yard-1"),
        ("s3://bucket/2026/cats", "bucket-2026-cats"),
        ("file:///drop/in", "drop-in"),
    ],
)
def test_a_feed_is_named_after_its_file(spec: str, feed: str | None) -> None:
    assert check_name("feed", feed_name(spec))
    assert feed is None or feed_name(spec) == feed


def test_a_folder_gives_its_own_name_from_inside_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "Holiday.2026"
    folder.mkdir()
    monkeypatch.chdir(folder)
    assert feed_name(".") == feed_name(str(folder)) == feed_name(f"{folder}/*.jpg") == "holiday.2026"


def test_names_that_differ_in_more_than_case_and_separators_stay_distinct() -> None:
    names = [
        "北门 1",
        "南门 1",
        "Москва",
        "🦊",
        "🐻",
        "🦊 park",
        "🐻 park",
        "caf\udce9",
        "caf\udcea",
        *("x" * n for n in (63, 64, 65)),
    ]
    assert len({slug(name) for name in names}) == len(names)


@given(st.text(max_size=90))
def test_every_name_gives_a_valid_feed_and_both_of_its_normal_forms_the_same(name: str) -> None:
    assert check_name("feed", slug(name)) == slug(normalize("NFC", name)) == slug(normalize("NFD", name))
    assert slug(slug(name)) == slug(name)


def test_a_linked_video_has_the_name_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "front door.mp4").touch()
    (tmp_path / "latest.mp4").symlink_to("front door.mp4")
    assert feed_name(str(tmp_path / "latest.mp4")) == feed_name(str(tmp_path / "front door.mp4")) == "front-door"


async def test_what_is_no_regular_file_is_never_opened(tmp_path: Path) -> None:
    """Opening a named pipe would wait for its writer without end."""
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.jpg"))
        for name in (str(tmp_path / "pipe.jpg"), str(tmp_path / "link.jpg"), str(tmp_path / "socket.jpg"), "/dev/null"):
            with pytest.raises(UnreadableSource, match=f"{name}: not a regular file"):
                choose_source(name, Playback(), SystemClock())
        offers = await offers_of(choose_source(str(tmp_path), Playback(), SystemClock()))
        assert refusals(offers) == dict.fromkeys(["pipe.jpg", "link.jpg", "socket.jpg"], "not_a_file")
