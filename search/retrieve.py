"""Finds pictures: by text, by picture, by filters, and never what the query excludes.

The index gives candidates by cosine, already without those whose texts mention a negative of one or two words. The
calibration's curve gives each a probability. A picture that looks like a negative, but whose texts do not mention it,
is reduced by the probability that the negative matches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import msgspec
import numpy as np
from msgspec import Struct

from schemas.points import FRAMES, SEMANTIC, VISUAL
from search.filters import conditions, mentions
from search.models import SearchModels
from search.query import Query
from search.rerank import Reranker
from search.results import Contents, SearchHit, SearchResult
from search.score import QueryVectors, Scorer, Scores, cosines
from search.uploads import decode_upload
from search.vocabulary import STOPWORDS
from stores.blobs import BlobStore
from stores.errors import Missing
from stores.index import Filter, Hit, Index, Match

MIN_CANDIDATES = 100
MAX_CANDIDATES = 1600
"""Beyond it a search for a query with a negative of three or more words ends: rarely does it leave no picture."""
MAX_BROWSED = 2000
"""A query of filters alone shows the newest of this many pictures."""
FACET_LIMIT = 12
"""Entries of each kind that describe the index when nothing matches."""


class SearcherSettings(Struct, frozen=True, kw_only=True):
    tenant: str = "default"
    threshold: float | None = None
    """Overrides the curves' own: below it nothing matches."""
    rerank_limit: int = 32
    """The number of nearest pictures that the matching head reads, where there is one."""
    collection: str = FRAMES
    """The alias of the current model set's collection."""


class Searcher:
    """The read side of one index.

    A picture is compared by the `visual` model, or by `semantic` without one. With a matching head, and `blobs` to
    read pictures from, the nearest pictures are re-ranked.
    """

    def __init__(
        self,
        index: Index,
        models: SearchModels,
        settings: SearcherSettings | None = None,
        blobs: BlobStore | None = None,
    ) -> None:
        self._index = index
        self._models = models
        self._settings = settings or SearcherSettings()
        self._scorer = Scorer(models.calibration, self._settings.threshold)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._reranker: Reranker | None = None
        if models.matcher is not None and blobs is not None and self._scorer.uses_matcher:
            self._reranker = Reranker(models.matcher, blobs, self._settings.tenant, self._executor)

    async def search(self, query: Query) -> SearchResult:
        """Raises StoreUnavailable, Missing (no collection, no picture `like`), Unreadable for what is no picture."""
        terms = query.terms
        query, unknown = self._without_unknown(query)
        negatives = tuple(negative.text for negative in query.negatives)
        result = SearchResult(text=query.text, negatives=negatives, unknown_words=unknown)
        where = conditions(query, self._settings.tenant)
        if query.text or query.image is not None or query.like:
            vectors = await self._vectors(query)
            return await self._ranked(result, query, vectors, await self._candidates(query, vectors, where))
        if terms and unknown:
            return await self._nothing(result)
        return msgspec.structs.replace(result, hits=await self._newest(query, where))

    def close(self) -> None:
        self._executor.shutdown()

    def _without_unknown(self, query: Query) -> tuple[Query, tuple[str, ...]]:
        """The query without terms that hold a word unknown to the models, and those words."""
        words = [word for term in (*query.terms, *query.negatives) for word in term.words]
        vocabulary = self._models.vocabulary
        return replace(query, text=vocabulary.readable(query.text)), vocabulary.unknown(words)

    async def _vectors(self, query: Query) -> QueryVectors:
        vectors = await asyncio.get_running_loop().run_in_executor(self._executor, self._embed, query)
        if not query.like or vectors.picture is not None:
            return vectors
        stored = await self._index.get(self._settings.collection, [query.like], with_vectors=(VISUAL, SEMANTIC))
        name = VISUAL if self._models.visual else SEMANTIC
        if not stored or name not in stored[0].vectors:
            raise Missing(f"no picture {query.like} in the index")
        return replace(vectors, picture=np.frombuffer(stored[0].vectors[name], dtype="<f4"), picture_vector=name)

    def _embed(self, query: Query) -> QueryVectors:
        """In the models' thread. A negative is embedded as the bare term, never as a text with a "no"."""
        models = self._models
        phrases = (*([query.text] if query.text else []), *(f"a {negative.text}" for negative in query.negatives))
        embedded = list(models.semantic.embed_texts(phrases)) if phrases else []
        text = embedded.pop(0) if query.text else None
        vectors = QueryVectors(phrases=phrases, text=text, negatives=embedded)
        if query.image is None:
            return vectors
        model, name = (models.visual, VISUAL) if models.visual else (models.semantic, SEMANTIC)
        picture = model.embed_images([decode_upload(query.image)])[0]
        return replace(vectors, picture=picture, picture_vector=name)

    async def _candidates(self, query: Query, vectors: QueryVectors, where: Filter) -> Sequence[Hit]:
        """The nearest pictures, enough to fill the limit without those whose texts mention a negative."""
        name = vectors.picture_vector if vectors.picture is not None else SEMANTIC
        vector = vectors.picture if vectors.picture is not None else vectors.text
        assert vector is not None  # noqa: S101 - a query of neither is browsed, not searched
        limit = max(5 * query.limit, MIN_CANDIDATES)
        while True:
            hits = await self._index.search(
                self._settings.collection, name, vector, where=where, limit=limit, with_vectors=_needed(name, vectors)
            )
            kept = _without_negatives(query, hits)
            if len(kept) >= query.limit or len(hits) < limit or limit >= MAX_CANDIDATES:
                return kept
            limit *= 4

    async def _ranked(
        self, result: SearchResult, query: Query, vectors: QueryVectors, hits: Sequence[Hit]
    ) -> SearchResult:
        if not self._scorer.is_calibrated_for(vectors):
            ranked = sorted(zip(cosines(vectors, hits), hits, strict=True), key=lambda pair: -pair[0])
            return msgspec.structs.replace(result, hits=tuple(_search_hit(hit) for _, hit in ranked[: query.limit]))
        hits, scores = await self._scored(query, vectors, hits)
        result = msgspec.structs.replace(result, calibrated=True, best=scores.best)
        shown = scores.shown(query.limit)
        if not shown:
            return await self._nothing(result)
        return msgspec.structs.replace(
            result, hits=tuple(_search_hit(hits[index], float(scores.probabilities[index])) for index in shown)
        )

    async def _scored(self, query: Query, vectors: QueryVectors, hits: Sequence[Hit]) -> tuple[Sequence[Hit], Scores]:
        """The candidates and their scores; with a matching head, only the nearest, which it reads."""
        scores = self._scorer.score(vectors, hits)
        if self._reranker is None or not vectors.phrases:
            return hits, scores
        limit = max(self._settings.rerank_limit, query.limit)
        hits = [hits[index] for index in np.argsort(-scores.probabilities, kind="stable")[:limit]]
        return hits, self._scorer.score(vectors, hits, await self._reranker.log_odds(vectors.phrases, hits))

    async def _newest(self, query: Query, where: Filter) -> tuple[SearchHit, ...]:
        """The result of a query of filters or negatives alone."""
        hits, _ = await self._index.scroll(self._settings.collection, where=where, limit=MAX_BROWSED)
        kept = _without_negatives(query, hits)
        kept.sort(key=lambda hit: hit.payload.get("time") or "", reverse=True)
        return tuple(_search_hit(hit) for hit in kept[: query.limit])

    async def _nothing(self, result: SearchResult) -> SearchResult:
        return msgspec.structs.replace(result, nothing_matches=True, contents=await self.contents())

    async def contents(self) -> Contents:
        """What the tenant's part of the index holds. Raises StoreUnavailable, Missing."""
        name, mine = self._settings.collection, Filter(must=(Match(field="tenant", any_of=(self._settings.tenant,)),))
        feeds, labels, phrases, pictures = await asyncio.gather(
            self._index.facet(name, "feed", where=mine, limit=FACET_LIMIT),
            self._index.facet(name, "labels", where=mine, limit=FACET_LIMIT),
            self._index.facet(name, "compound", where=mine, limit=8 * FACET_LIMIT),
            self._index.count(name, mine),
        )
        return Contents(pictures=pictures, feeds=dict(feeds), labels=dict(labels), phrases=_meaningful(phrases))


def _needed(name: str, vectors: QueryVectors) -> tuple[str, ...]:
    """The vectors that scoring needs of each candidate; `name` is the one that the index compares."""
    semantic = vectors.text is not None or bool(vectors.negatives)
    return (name, SEMANTIC) if semantic and name != SEMANTIC else (name,)


def _without_negatives(query: Query, hits: Sequence[Hit]) -> list[Hit]:
    return [hit for hit in hits if not any(mentions(hit.payload, negative) for negative in query.negatives)]


def _meaningful(phrases: Mapping[str, int]) -> dict[str, int]:
    """Pairs of words that both carry meaning: "red circle", not "circle and"."""
    kept = [(phrase, count) for phrase, count in phrases.items() if not STOPWORDS & set(phrase.split())]
    return dict(kept[:FACET_LIMIT])


def _search_hit(hit: Hit, probability: float | None = None) -> SearchHit:
    return SearchHit(id=hit.id, score=hit.score, probability=probability, payload=hit.payload)
