"""The matching head looks at a picture once, reads each query with it, and decides where vectors cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from schemas.points import FRAME_FIELDS, SEMANTIC, VISUAL, payload
from schemas.words import pairs, words
from search.calibrate import Calibration, fit
from search.models import Array, Pixels
from search.query import Query, parse
from search.retrieve import Searcher, SearcherSettings
from stores.blobs import blob_uri, sha256_hex
from stores.edge.client import EdgeIndex
from stores.folder import BlobFolder
from stores.index import CollectionSpec, Hit, Point
from tests.browser.world import encoded
from tests.unit.search.bags import DIMENSION, Bags
from tests.unit.search.test_retrieve import event

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
SWAPPED = ("a photo of a red circle and a blue square.", "a photo of a blue circle and a red square.")


@dataclass(frozen=True, slots=True)
class Seen:
    caption: str

    @property
    def nbytes(self) -> int:
        return len(self.caption)


class Reader:
    """A `Matcher` that knows each picture by its brightness, and counts how often it looks."""

    def __init__(self, captions: Sequence[str]) -> None:
        self.captions = captions
        self.looks = 0

    def encode_images(self, images: Sequence[Pixels]) -> list[Seen]:
        self.looks += len(images)
        return [Seen(self.captions[round(float(image.mean()) / 20)]) for image in images]

    def match_features(self, texts: Sequence[str], looks: Sequence[Seen]) -> Array:
        true = [set(pairs(text)) <= set(pairs(look.caption)) for text, look in zip(texts, looks, strict=True)]
        return np.where(true, 4.0, -4.0).astype(np.float32)


class WordsOnly(Bags):
    """Vectors of a model that sees all words and never which belong together."""

    def embed_texts(self, texts: Sequence[str]) -> Array:
        return super().embed_texts([". ".join(words(text)) for text in texts])


def calibration(model: WordsOnly) -> Calibration:
    kinds = ("red circle", "blue circle", "red square", "blue square")
    captions = [f"a photo of a {one} and a {other}." for one in kinds for other in kinds if one != other]
    pictures, asked = model.embed_texts(captions), [f"a {kind}" for kind in kinds]
    matches = np.array([[kind in caption for caption in captions] for kind in kinds])
    odds = np.where(matches, 4.0, -4.0).astype(np.float32)
    queries = model.embed_texts(asked)
    curves = {
        "text": fit(queries, pictures, matches, pictures),
        "matched": fit(queries, pictures, matches, pictures, odds),
    }
    return Calibration(revision="hand", curves=curves, references={SEMANTIC: pictures, VISUAL: pictures})


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[tuple[EdgeIndex, BlobFolder, WordsOnly]]:
    """Two pictures of the same words, otherwise joined."""
    index, blobs, model = EdgeIndex(tmp_path / "index"), BlobFolder(tmp_path / "blobs"), WordsOnly()
    sizes = {SEMANTIC: DIMENSION, VISUAL: DIMENSION}
    await index.ensure(CollectionSpec(name="frames", vectors=sizes, payload=FRAME_FIELDS))
    points = []
    for number, caption in enumerate(SWAPPED):
        picture = encoded(np.full((16, 16, 3), number * 20, np.uint8))
        uri = blob_uri("default", "lobby", NOW.date(), sha256_hex(picture))
        await blobs.put("default", uri, picture)
        one, vector = event(caption, number), model.embed_texts([caption])[0]
        points.append(Point(id=one.id, vectors={SEMANTIC: vector, VISUAL: vector}, payload=payload(one) | {"uri": uri}))
    await index.upsert("frames", points)
    yield index, blobs, model
    await index.close()
    await blobs.close()


async def test_reading_both_together_tells_what_vectors_cannot(
    shelf: tuple[EdgeIndex, BlobFolder, WordsOnly],
) -> None:
    index, blobs, model = shelf
    reader = Reader(SWAPPED)
    fitted = calibration(model)
    blind = await Searcher(index, model, model, fitted, settings=SearcherSettings(threshold=0.0)).search(asked())
    assert len({round(hit.probability or 0, 3) for hit in blind.hits}) == 1
    searcher = Searcher(index, model, model, fitted, matcher=reader, blobs=blobs)
    result = await searcher.search(asked())
    assert [hit.payload["caption"] for hit in result.hits] == [SWAPPED[0]]
    await searcher.search(asked("a blue square"))
    assert reader.looks == 2


async def test_a_picture_that_is_gone_is_judged_by_its_vector(
    shelf: tuple[EdgeIndex, BlobFolder, WordsOnly],
) -> None:
    index, blobs, model = shelf
    hits: Sequence[Hit] = (await index.scroll("frames"))[0]
    for hit in hits:
        await blobs.delete("default", hit.payload["uri"])
    searcher = Searcher(index, model, model, calibration(model), matcher=Reader(SWAPPED), blobs=blobs)
    result = await searcher.search(asked())
    assert result.best is not None


def asked(text: str = "a red circle") -> Query:
    return parse(text, now=NOW)
