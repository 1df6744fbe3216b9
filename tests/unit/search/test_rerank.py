"""The matching head encodes a picture once, reads each query with it, and decides where vectors cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from schemas.points import FRAME_FIELDS, SEMANTIC, VISUAL, payload
from schemas.words import pairs, words
from search.calibrate import Calibration, fit
from search.models import Array, Pixels, SearchModels
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
class Features:
    """What the matcher keeps of a picture."""

    caption: str

    @property
    def nbytes(self) -> int:
        return len(self.caption)


class BrightnessMatcher:
    """A `Matcher` that recognizes each picture by its brightness, and counts the pictures it encodes."""

    def __init__(self, captions: Sequence[str]) -> None:
        self.captions = captions
        self.encoded = 0

    def encode_images(self, images: Sequence[Pixels]) -> list[Features]:
        self.encoded += len(images)
        return [Features(self.captions[round(float(image.mean()) / 20)]) for image in images]

    def match_features(self, texts: Sequence[str], features: Sequence[Features]) -> Array:
        true = [set(pairs(text)) <= set(pairs(one.caption)) for text, one in zip(texts, features, strict=True)]
        return np.where(true, 4.0, -4.0).astype(np.float32)


class WordsOnly(Bags):
    """Vectors of a model that knows all words of a text and not which belong together."""

    def embed_texts(self, texts: Sequence[str]) -> Array:
        return super().embed_texts([". ".join(words(text)) for text in texts])


def calibration(model: WordsOnly) -> Calibration:
    kinds = ("red circle", "blue circle", "red square", "blue square")
    captions = [f"a photo of a {one} and a {other}." for one in kinds for other in kinds if one != other]
    pictures, queries = model.embed_texts(captions), model.embed_texts([f"a {kind}" for kind in kinds])
    matches = np.array([[kind in caption for caption in captions] for kind in kinds])
    odds = np.where(matches, 4.0, -4.0).astype(np.float32)
    curves = {
        "text": fit(queries, pictures, matches, pictures),
        "matched": fit(queries, pictures, matches, pictures, odds),
    }
    return Calibration(revision="hand", curves=curves, references={SEMANTIC: pictures, VISUAL: pictures})


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[tuple[EdgeIndex, BlobFolder, WordsOnly]]:
    """Two pictures of the same words in different pairs."""
    index, blobs, model = EdgeIndex(tmp_path / "index"), BlobFolder(tmp_path / "blobs"), WordsOnly()
    sizes = {SEMANTIC: DIMENSION, VISUAL: DIMENSION}
    await index.ensure(CollectionSpec(name="frames", vectors=sizes, payload=FRAME_FIELDS))
    points = []
    for number, caption in enumerate(SWAPPED):
        picture = encoded(np.full((16, 16, 3), number * 20, np.uint8))
        uri = blob_uri("default", "lobby", NOW.date(), sha256_hex(picture))
        await blobs.put("default", uri, picture)
        frame, vector = event(caption, number), model.embed_texts([caption])[0]
        vectors = {SEMANTIC: vector, VISUAL: vector}
        points.append(Point(id=frame.id, vectors=vectors, payload=payload(frame) | {"uri": uri}))
    await index.upsert("frames", points)
    yield index, blobs, model
    await index.close()
    await blobs.close()


async def test_reading_both_together_tells_what_vectors_cannot(
    shelf: tuple[EdgeIndex, BlobFolder, WordsOnly],
) -> None:
    index, blobs, model = shelf
    matcher = BrightnessMatcher(SWAPPED)
    models = SearchModels(model, model, calibration=calibration(model))
    by_vectors = await Searcher(index, models, SearcherSettings(threshold=0.0)).search(query())
    assert len({round(hit.probability or 0, 3) for hit in by_vectors.hits}) == 1
    searcher = Searcher(index, replace(models, matcher=matcher), blobs=blobs)
    result = await searcher.search(query())
    assert [hit.payload["caption"] for hit in result.hits] == [SWAPPED[0]]
    await searcher.search(query("a blue square"))
    assert matcher.encoded == 2


async def test_a_picture_without_its_blob_is_scored_by_its_vector(
    shelf: tuple[EdgeIndex, BlobFolder, WordsOnly],
) -> None:
    index, blobs, model = shelf
    hits: Sequence[Hit] = (await index.scroll("frames"))[0]
    for hit in hits:
        await blobs.delete("default", hit.payload["uri"])
    models = SearchModels(model, model, BrightnessMatcher(SWAPPED), calibration(model))
    result = await Searcher(index, models, blobs=blobs).search(query())
    assert result.best is not None


def query(text: str = "a red circle") -> Query:
    return parse(text, now=NOW)
