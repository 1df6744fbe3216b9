"""Answers of any length: a shorter one is the start of a longer one, and pages hold every picture once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.points import FRAME_FIELDS, SEMANTIC, VISUAL, payload
from schemas.words import pairs
from search.calibrate import fit, unit
from search.errors import BadQuery
from search.models import Array, Pixels, SearchModels
from search.query import parse
from search.results import SearchResult
from search.retrieve import Searcher, SearcherSettings
from stores.blobs import blob_uri, sha256_hex
from stores.edge.client import EdgeIndex
from stores.folder import BlobFolder
from stores.index import CollectionSpec, Point
from tests.browser.world import encoded
from tests.support.edge_folder import edge_folder
from tests.unit.search.bags import DIMENSION, Bags
from tests.unit.search.test_retrieve import COLORS, NOW, SHAPES, calibration, event

pytestmark = pytest.mark.asyncio(loop_scope="module")
PICTURES = 450
"""More than one pool of candidates."""
ZONES = [timezone(timedelta(hours=hours)) for hours in (0, 9, -8, 5.5)]


@dataclass(frozen=True, slots=True)
class Features:
    caption: str
    nbytes: int = 1


class Matcher:
    """Knows a picture by its brightness, and doubts some of what it reads."""

    def __init__(self, captions: Sequence[str]) -> None:
        self.captions = captions

    def encode_images(self, images: Sequence[Pixels]) -> list[Features]:
        return [Features(self.captions[round(float(image.mean()))]) for image in images]

    def match_features(self, texts: Sequence[str], features: Sequence[Features]) -> Array:
        true = [set(pairs(text)) <= set(pairs(one.caption)) for text, one in zip(texts, features, strict=True)]
        doubt = [len(one.caption) % 7 for one in features]
        return np.asarray(np.where(true, 4.0, -4.0) - np.array(doubt) / 4, np.float32)


class Gallery:
    """450 pictures of one, two or three things, in three feeds, with capture times in several zones, many equal."""

    def __init__(self, index: EdgeIndex, blobs: BlobFolder) -> None:
        rng = np.random.default_rng(7)
        kinds = [f"{color} {shape}" for color in COLORS for shape in SHAPES]
        chosen = [rng.choice(kinds, 1 + number % 3, replace=False) for number in range(256)]
        self.captions = [f"a photo of a {' and a '.join(each)}." for each in chosen]
        self.index, self.blobs, self.bags = index, blobs, Bags()
        fitted = calibration(self.bags)
        queries = self.bags.embed_texts([f"a {kind}" for kind in kinds])
        pictures = self.bags.embed_texts(self.captions)
        matches = np.array([[kind in caption for caption in self.captions] for kind in kinds])
        odds = np.stack([Matcher(self.captions).match_features([f"a {kind}"] * 256, list(map(Features, self.captions)))
                         for kind in kinds])  # fmt: skip
        fitted.curves["matched"] = fit(queries, pictures[:128], matches[:, :128], pictures[128:], odds[:, :128])
        models = SearchModels(self.bags, self.bags, calibration=fitted)
        self.by_vectors = Searcher(index, models)
        self.reread = Searcher(
            index, SearchModels(self.bags, self.bags, Matcher(self.captions), fitted), SearcherSettings(), blobs
        )
        self.uncalibrated = Searcher(index, SearchModels(self.bags, self.bags))

    async def fill(self) -> None:
        rng = np.random.default_rng(8)
        uris = [await self._stored(number) for number in range(256)]
        events = [event(self.captions[number % 256], number // 3, feed="abc"[number % 3]) for number in range(PICTURES)]
        vectors = unit(
            self.bags.embed_texts([each.captions[0].text for each in events])
            + rng.standard_normal((PICTURES, DIMENSION)).astype(np.float32) * 0.01
        )
        points = []
        for number, (each, vector) in enumerate(zip(events, vectors, strict=True)):
            taken = each.ingested.astimezone(ZONES[number % 4]).isoformat()
            fields = payload(each) | {"time": taken, "uri": uris[number % 256]}
            points.append(Point(id=each.id, vectors={SEMANTIC: vector, VISUAL: vector}, payload=fields))
        await self.index.upsert("frames", points)

    async def _stored(self, number: int) -> str:
        picture = encoded(np.full((16, 16, 3), number, np.uint8))
        uri = blob_uri("default", "a", NOW.date(), sha256_hex(picture))
        await self.blobs.put("default", uri, picture)
        return uri


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gallery(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gallery]:
    """Tests must not change it."""
    path = tmp_path_factory.mktemp("gallery")
    with edge_folder(path / "index") as folder:
        index = EdgeIndex(folder)
        spec = CollectionSpec(name="frames-a", vectors={SEMANTIC: DIMENSION, VISUAL: DIMENSION}, payload=FRAME_FIELDS)
        await index.ensure(spec, alias="frames")
        filled = Gallery(index, BlobFolder(path / "blobs"))
        await filled.fill()
        yield filled
        await index.close()


async def pages(searcher: Searcher, text: str, limit: int) -> AsyncIterator[SearchResult]:
    cursor, first = "", True
    while first or cursor:
        result = await searcher.search(parse(text, now=NOW, limit=limit, cursor=cursor))
        cursor, first = result.cursor, False
        yield result


def ids(result: SearchResult) -> list[str]:
    return [hit.id for hit in result.hits]


texts = st.builds(
    lambda color, shape, rest: f"a {color} {shape}{rest}",
    st.sampled_from(COLORS), st.sampled_from(SHAPES),
    st.sampled_from(["", " but no blue", " feed:a", " -\"red square\"", " and a green star", " since:20h"]),
) | st.sampled_from(["a circle", "feed:b", "label:star -blue", "feed:a,c since:3d", "no square"])  # fmt: skip


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts, limits=st.tuples(st.integers(1, 200), st.integers(1, 200)), which=st.integers(0, 2),
       fold=st.booleans())  # fmt: skip
async def test_a_shorter_answer_is_the_start_of_a_longer_one(
    gallery: Gallery, *, text: str, limits: tuple[int, int], which: int, fold: bool
) -> None:
    searcher = (gallery.by_vectors, gallery.reread, gallery.uncalibrated)[which]
    short, long = [await searcher.search(parse(text, now=NOW, limit=limit, fold=fold)) for limit in sorted(limits)]
    assert ids(short) == ids(long)[: min(limits)]
    assert short.nothing_matches == long.nothing_matches
    assert short.best == long.best
    assert short.more == (bool(short.cursor))
    assert short.more or ids(short) == ids(long)
    assert len(short.hits) == min(limits) or not short.more, "short only where there is no more"
    assert short.total >= len(short.hits)
    if short.total_is_exact:
        assert short.total == long.total


@pytest.mark.parametrize("text", ["a red circle", "a circle", "feed:a", "no square"])
@pytest.mark.parametrize("limit", [20, 200])
async def test_pages_hold_every_picture_of_the_answer_once(gallery: Gallery, text: str, limit: int) -> None:
    for searcher in (gallery.by_vectors, gallery.reread):
        (longest,) = [page async for page in pages(searcher, text, 200)][:1]
        found = [page async for page in pages(searcher, text, limit)]
        shown = [hit for page in found for hit in ids(page)]
        assert len(set(shown)) == len(shown)
        assert shown[:200] == ids(longest)
        assert all(len(page.hits) == limit for page in found[:-1])
        assert found[-1].total_is_exact
        assert found[-1].total == len(shown)


async def test_filters_alone_give_the_newest_by_instant_and_their_number(gallery: Gallery) -> None:
    """Pictures of one hour have equal times, written with the offsets of different zones."""
    result = await gallery.by_vectors.search(parse("feed:a,c", now=NOW, limit=200))
    times = [datetime.fromisoformat(hit.payload["time"]).astimezone(UTC) for hit in result.hits]
    assert times == sorted(times, reverse=True)
    assert times[0] == NOW
    assert [hit.id for hit in result.hits] == [
        hit.id
        for hit in sorted(
            result.hits, key=lambda hit: (-datetime.fromisoformat(hit.payload["time"]).timestamp(), UUID(hit.id).int)
        )
    ]
    in_feeds = sum(number % 3 != 1 for number in range(PICTURES))
    assert (result.total, result.total_is_exact, result.more) == (in_feeds, True, True)


async def test_what_the_index_cannot_count_is_a_number_that_is_not_too_large(gallery: Gallery) -> None:
    """It checks negatives of one and two words itself."""
    text = 'feed:a -"photo of blue star"'
    everything = await gallery.by_vectors.search(parse(text, now=NOW, limit=200))
    page = await gallery.by_vectors.search(parse(text, now=NOW, limit=5))
    assert 5 <= page.total <= everything.total == len(everything.hits) < 150
    assert (page.total_is_exact, everything.total_is_exact) == (False, True)


@pytest.mark.parametrize("cursor", ["zzz", "n0", "n-1", "n", "t", "t2026", "x" * 5000, "n99999999"])
async def test_a_cursor_that_is_none_is_refused(gallery: Gallery, cursor: str) -> None:
    for text in ("feed:a", "a red circle"):
        with pytest.raises(BadQuery, match="cursor"):
            await gallery.by_vectors.search(parse(text, now=NOW, cursor=cursor))


async def test_a_cursor_of_another_kind_of_query_is_refused(gallery: Gallery) -> None:
    for text, other in (("feed:a", "a circle"), ("a circle", "feed:a")):
        cursor = (await gallery.by_vectors.search(parse(text, now=NOW, limit=3))).cursor
        with pytest.raises(BadQuery, match="another query"):
            await gallery.by_vectors.search(parse(other, now=NOW, cursor=cursor))
