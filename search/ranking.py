"""Ranks pictures for a text or a picture, in blocks, so that a longer answer only adds to a shorter one.

The index gives the nearest pictures in pools of fixed sizes, whatever the answer's limit; what a pool adds to the one
before is ordered by the calibration's probability and read in blocks, by the matching head where there is one. A block
is ordered by itself. The answer ends after a block that hardly holds a match, since those after it are farther.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass

import numpy as np

from schemas.points import SEMANTIC, VISUAL, is_out_of_domain
from search.rerank import Reranker
from search.results import SearchHit
from search.scenes import Scenes
from search.score import QueryVectors, Scorer, Scores, cosines
from stores.index import Filter, Hit, Index

POOLS = (100, 400, 1600, 6400)
"""Numbers of nearest pictures that are taken from the index one after the other, until the answer is long enough."""
Keep = Callable[[Hit], bool]
"""What the index cannot check by itself."""
SPARSE_SHARE = 1 / 8
"""A block with a smaller share of matches is the last."""


@dataclass(frozen=True, slots=True)
class Block:
    """`hits` are the likely ones of a block, best first; `best` is the highest probability in it."""

    hits: Sequence[SearchHit]
    matches: bool
    best: float | None = None
    is_sparse: bool = False


class Ranking:
    """The blocks of one query's answer. With `scenes`, only the first picture of each scene is ranked."""

    def __init__(
        self,
        index: Index,
        collection: str,
        scorer: Scorer,
        reranker: Reranker | None,
        block_pictures: int,
        scenes: Scenes | None = None,
    ) -> None:
        """`block_pictures` are read by the reranker at a time."""
        self.is_whole = False
        """Whether the blocks hold every picture that the index has for the query."""
        self._index = index
        self._collection = collection
        self._scorer = scorer
        self._reranker = reranker
        self._block_pictures = block_pictures
        self._scenes = scenes

    async def blocks(self, vectors: QueryVectors, where: Filter, keep: Keep) -> AsyncGenerator[Block, None]:
        """Of the pictures that meet `where` and `keep`. Raises StoreUnavailable, Missing."""
        seen: set[str] = set()
        for pool in POOLS:
            nearest = await self._nearest(vectors, where, pool)
            window = [hit for hit in nearest if hit.id not in seen and keep(hit)]
            seen.update(hit.id for hit in nearest)
            if self._scorer.is_calibrated_for(vectors):
                ordered = _ordered(window, self._scorer.score(vectors, window).probabilities)
                for block in self._cut(vectors, self._new_scenes(ordered)):
                    yield await self._scored(vectors, block)
            elif window:
                yield self._by_cosine(vectors, window)
            if len(nearest) < pool:
                self.is_whole = True
                return

    async def _nearest(self, vectors: QueryVectors, where: Filter, limit: int) -> Sequence[Hit]:
        name = vectors.picture_vector if vectors.picture is not None else SEMANTIC
        vector = vectors.picture if vectors.picture is not None else vectors.text
        assert vector is not None  # noqa: S101 - a query of neither is browsed, not ranked
        wanted = {name}
        if vectors.text is not None or vectors.negatives:
            wanted.add(SEMANTIC)
        if self._scenes is not None:
            wanted.add(VISUAL)
        return await self._index.search(
            self._collection, name, vector, where=where, limit=limit, with_vectors=sorted(wanted)
        )

    def _new_scenes(self, hits: Sequence[Hit]) -> Sequence[Hit]:
        return hits if self._scenes is None else self._scenes.add(hits)

    def _cut(self, vectors: QueryVectors, hits: Sequence[Hit]) -> list[Sequence[Hit]]:
        """Blocks for the reranker, one block without it; a short rest belongs to the block before."""
        if self._reranker is None or not vectors.phrases or not hits:
            return [hits] if hits else []
        size = self._block_pictures
        starts = list(range(0, max(1, len(hits) - size // 2), size))
        return [hits[start:end] for start, end in zip(starts, [*starts[1:], len(hits)], strict=True)]

    async def _scored(self, vectors: QueryVectors, hits: Sequence[Hit]) -> Block:
        log_odds = None
        if self._reranker is not None and vectors.phrases:
            log_odds = await self._reranker.log_odds(vectors.phrases, hits)
        scores = self._scorer.score(vectors, hits, log_odds)
        likely = _ordered([hits[index] for index in scores.likely()], _likely_probabilities(scores))
        by_id = {hit.id: float(probability) for hit, probability in zip(hits, scores.probabilities, strict=True)}
        shown = [_search_hit(hit, by_id[hit.id]) for hit in likely]
        return Block(shown, scores.matches(), scores.best, len(shown) < SPARSE_SHARE * len(hits))

    def _by_cosine(self, vectors: QueryVectors, hits: Sequence[Hit]) -> Block:
        """While models are uncalibrated, every picture is shown."""
        ordered = self._new_scenes(_ordered(hits, cosines(vectors, hits)))
        return Block([_search_hit(hit) for hit in ordered], matches=True)


def _likely_probabilities(scores: Scores) -> Sequence[float]:
    return [float(scores.probabilities[index]) for index in scores.likely()]


def _ordered(hits: Sequence[Hit], values: Sequence[float] | np.ndarray) -> list[Hit]:
    """By descending value, equal ones by id."""
    return [hit for _, _, hit in sorted((-float(value), hit.id, hit) for value, hit in zip(values, hits, strict=True))]


def _search_hit(hit: Hit, probability: float | None = None) -> SearchHit:
    """A picture unlike those that the models were trained on has no probability that means anything."""
    if is_out_of_domain(hit.payload):
        probability = None
    return SearchHit(id=hit.id, score=hit.score, probability=probability, payload=hit.payload)
