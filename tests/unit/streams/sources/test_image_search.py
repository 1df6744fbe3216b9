"""Descriptions of image-search APIs, against a server of Pixabay's shape."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from streams.clock import SystemClock
from streams.sources.fetcher import Fetcher, FetchSettings
from streams.sources.image_search import ImageSearch, ImageSearchClient, Result, shipped_apis
from streams.sources.json_path import check_path, pick
from streams.sources.source import UnreadableSource
from tests.support.picture_server import ALLOWED, KEY, PictureServer, picture_server

NAMES = [f"{number}.jpg" for number in range(7)]


@pytest.fixture
def api() -> Iterator[PictureServer]:
    with picture_server({}, {"red circle": NAMES, "a b": NAMES[:1]}) as server:
        yield server


def search(api: PictureServer, *, key: str = KEY, cache: Path | None = None, **changes: object) -> ImageSearchClient:
    url = api.url("/api/?key={key}&q={query}&page={page}&per_page={per_page}")
    pixabay = msgspec.structs.replace(shipped_apis()["pixabay"], picture="largeImageURL", per_page=3, pages=9)
    described = msgspec.structs.replace(pixabay, **{"url": url, **changes})
    fetcher = Fetcher(FetchSettings(allow=ALLOWED, attempts=1), SystemClock())
    return ImageSearchClient(name="here", api=described, fetcher=fetcher, cache=cache, environment={"PIXABAY_KEY": key})


async def results(client: ImageSearchClient, query: str) -> list[Result]:
    return [result async for result in client.results(query)]


async def test_pages_are_requested_until_one_is_short(api: PictureServer) -> None:
    found = await results(search(api), "red circle")
    assert [result.url for result in found] == [api.url(f"/pictures/{name}") for name in NAMES]
    first = Result(api.url("/pictures/0.jpg"), "0.jpg, test", api.url("/photos/0.jpg"), "user of 0.jpg")
    assert found[0] == first
    assert sum(api.asked.values()) == 3
    assert len(await results(search(api, pages=1), "red circle")) == 3


async def test_an_error_after_the_last_page_is_the_end(api: PictureServer) -> None:
    assert len(await results(search(api, per_page=7), "red circle")) == 7


async def test_a_query_is_escaped_and_shortened_to_whole_words(api: PictureServer) -> None:
    assert len(await results(search(api, most_query_characters=4), "a b & long=word")) == 1
    await results(search(api), "fish & chips?")
    assert any("q=fish%20%26%20chips%3F" in target for target in api.asked)


async def test_an_answer_is_cached_for_its_time_without_the_key(api: PictureServer, tmp_path: Path) -> None:
    client = search(api, cache=tmp_path, per_page=20)
    assert await results(client, "red circle") == await results(client, "red circle")
    assert sum(api.asked.values()) == 1
    (cached,) = tmp_path.rglob("*.json")
    assert KEY not in str(cached)
    assert KEY.encode() not in cached.read_bytes()
    os.utime(cached, (0, 0))
    await results(client, "red circle")
    assert sum(api.asked.values()) == 2


@pytest.mark.parametrize("url", ["/api/?key={key}&q={query}", "/{key}/?q={query}", "/{query}/%zz"])
async def test_no_error_contains_the_key(api: PictureServer, url: str) -> None:
    with pytest.raises(UnreadableSource, match=r"here.*;") as refused:
        await results(search(api, key="s3cret/1", url=api.url(url)), "cats")
    assert "s3cret" not in str(refused.value)
    assert "s3cret" not in repr(search(api, key="s3cret/1"))


async def test_the_error_for_a_missing_key_names_its_variable(api: PictureServer) -> None:
    with pytest.raises(UnreadableSource, match=r"PIXABAY_KEY.*pixabay\.com/api/docs"):
        await results(search(api, key=" "), "cats")
    assert not api.asked


async def test_headers_are_sent_to_the_api_only(api: PictureServer) -> None:
    """The redirect leads to the same machine by another name."""
    api.pictures["answer"] = b'{"hits": []}'
    client = search(api, url=api.url("/moved/answer?q={query}"), headers={"Authorization": "Bearer {key}"})
    assert await results(client, "cats") == []
    assert api.headers["/moved/answer?q=cats"]["Authorization"] == f"Bearer {KEY}"
    assert "Authorization" not in api.headers["/pictures/answer"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [(b"<html>", "not JSON"), (b'{"other": 1}', "no list at 'hits'"), (b'{"hits": {}}', "no list")],
)
async def test_an_answer_of_another_shape_is_reported(
    api: PictureServer, answer: bytes, message: str, tmp_path: Path
) -> None:
    api.pictures["answer"] = answer
    with pytest.raises(UnreadableSource, match=message):
        await results(search(api, url=api.url("/pictures/answer?q={query}"), cache=tmp_path), "cats")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"url": "https://host/{query}/{api_key}"}, "api_key"),
        ({"url": "https://host/"}, "{query}"),
        ({"url": "ftp://host/{query}"}, "http"),
        ({"picture": "a[b]"}, "path"),
        ({"headers": {"X": "{"}}, "{"),
    ],
)
def test_a_wrong_description_is_refused(change: dict[str, object], message: str) -> None:
    right: dict[str, object] = {"url": "https://host/{query}", "picture": "src"}
    with pytest.raises(ValueError, match=message):
        ImageSearch(**{**right, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b[1].c", 3),
        ("$.a.b[0]", 1),
        ("$.a.b[7]", None),
        ("a.b.c", None),
        ("", {"a": {"b": [1, {"c": 3}]}}),
        ("$", {"a": {"b": [1, {"c": 3}]}}),
    ],
)
def test_paths_into_json(path: str, found: object) -> None:
    assert pick({"a": {"b": [1, {"c": 3}]}}, check_path(path)) == found
