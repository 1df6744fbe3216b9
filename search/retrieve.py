"""Finds pictures: by text, by picture, by filters, and never what was to be left out.

The index gives candidates by cosine, already without those that a negative names. Each gets a probability from
the calibration's curve; a picture that only looks like a negative, though nobody said so, loses that much of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import msgspec
import numpy as np
from msgspec import Struct

from schemas.points import SEMANTIC, VISUAL
from search.calibrate import Calibration
from search.filters import conditions, says
from search.models import Matcher, PictureModel, TextAndPictureModel
from search.query import Query
from search.rerank import Reranker
from search.results import Contents, Found, SearchResult
from search.score import QueryVectors, Scorer, Scores, cosines
from search.uploads import decode_upload
from search.words import STOPWORDS, Vocabulary
from stores.blobs import BlobStore
from stores.errors import Missing
from stores.index import Filter, Hit, Index, Match

LEAST_CANDIDATES = 100
MOST_CANDIDATES = 1600
"""Beyond it a negative of three or more words is not searched further: it is rare that it leaves nothing."""
MOST_BROWSED = 2000
"""A query of filters alone shows the newest of so many."""
FACET_LIMIT = 12
"""Entries of each kind that are told of an index in which nothing matches."""


class SearcherSettings(Struct, frozen=True, kw_only=True):
    tenant: str = "default"
    threshold: float | None = None
    """Overrides the curves' own: below it nothing matches."""
    reread: int = 32
    """So many of the nearest are looked at again by the matching head, where there is one."""
    collection: str = "frames"
    """The alias of the current model set's collection."""


class Searcher:
    """The read side of one index. A picture is looked for by the `visual` model, without one by the `semantic`.

    With a `matcher`, and `blobs` to read pictures from, the nearest are looked at again.
    """

    def __init__(
        self,
        index: Index,
        semantic: TextAndPictureModel,
        visual: PictureModel | None = None,
        calibration: Calibration | None = None,
        vocabulary: Vocabulary | None = None,
        settings: SearcherSettings | None = None,
        matcher: Matcher | None = None,
        blobs: BlobStore | None = None,
    ) -> None:
        self._index = index
        self._semantic = semantic
        self._visual = visual
        self._vocabulary = vocabulary or Vocabulary()
        self._settings = settings or SearcherSettings()
        self._judge = Scorer(calibration, self._settings.threshold)
        self._models = ThreadPoolExecutor(1, thread_name_prefix="search")
        self._rereader: Reranker | None = None
        if matcher is not None and blobs is not None and self._judge.rereads:
            self._rereader = Reranker(matcher, blobs, self._settings.tenant, self._models)

    async def search(self, query: Query) -> SearchResult:
        """Raises StoreUnavailable, Missing (no collection, no picture `like`), Unreadable for what is no picture."""
        terms = query.terms
        query, unknown = self._without_unknown(query)
        said = SearchResult(
            text=query.text, negatives=tuple(entry.text for entry in query.negatives), unknown_words=unknown
        )
        where = conditions(query, self._settings.tenant)
        if query.text or query.image is not None or query.like:
            asked = await self._asked(query)
            return await self._judged(said, query, asked, await self._candidates(query, asked, where))
        if terms and unknown:
            return await self._nothing(said)
        return msgspec.structs.replace(said, hits=await self._newest(query, where))

    def close(self) -> None:
        self._models.shutdown()

    def _without_unknown(self, query: Query) -> tuple[Query, tuple[str, ...]]:
        """Terms with a word that the models were never taught say nothing to them: they are left out, and named."""
        asked = [word for entry in (*query.terms, *query.negatives) for word in entry.words]
        unknown = self._vocabulary.unknown(asked)
        return replace(query, text=self._vocabulary.readable(query.text)), unknown

    async def _asked(self, query: Query) -> QueryVectors:
        asked = await asyncio.get_running_loop().run_in_executor(self._models, self._embed, query)
        if not query.like or asked.picture is not None:
            return asked
        found = await self._index.get(self._settings.collection, [query.like], with_vectors=(VISUAL, SEMANTIC))
        name = VISUAL if self._visual else SEMANTIC
        if not found or name not in found[0].vectors:
            raise Missing(f"no picture {query.like} in the index")
        return replace(asked, picture=np.frombuffer(found[0].vectors[name], dtype="<f4"), picture_vector=name)

    def _embed(self, query: Query) -> QueryVectors:
        """In the models' thread. A negative is embedded as the bare term, never as a text with a "no"."""
        phrases = (*([query.text] if query.text else []), *(f"a {entry.text}" for entry in query.negatives))
        vectors = list(self._semantic.embed_texts(phrases)) if phrases else []
        text = vectors.pop(0) if query.text else None
        asked = QueryVectors(phrases=phrases, text=text, negatives=vectors)
        if query.image is None:
            return asked
        model, name = (self._visual, VISUAL) if self._visual else (self._semantic, SEMANTIC)
        picture = model.embed_images([decode_upload(query.image)])[0]
        return replace(asked, picture=picture, picture_vector=name)

    async def _candidates(self, query: Query, asked: QueryVectors, where: Filter) -> Sequence[Hit]:
        """The nearest pictures, enough to fill the limit when those that say a negative are gone."""
        name = asked.picture_vector if asked.picture is not None else SEMANTIC
        vector = asked.picture if asked.picture is not None else asked.text
        assert vector is not None  # noqa: S101 - a query of neither is browsed, not searched
        wanted = max(5 * query.limit, LEAST_CANDIDATES)
        while True:
            found = await self._index.search(
                self._settings.collection, name, vector, where=where, limit=wanted, with_vectors=_needed(name, asked)
            )
            kept = [hit for hit in found if not any(says(hit.payload, entry) for entry in query.negatives)]
            if len(kept) >= query.limit or len(found) < wanted or wanted >= MOST_CANDIDATES:
                return kept
            wanted *= 4

    async def _judged(self, said: SearchResult, query: Query, asked: QueryVectors, hits: Sequence[Hit]) -> SearchResult:
        if not self._judge.can(asked):
            ranked = sorted(zip(cosines(asked, hits), hits, strict=True), key=lambda pair: -pair[0])
            return msgspec.structs.replace(said, hits=tuple(_found(hit) for _, hit in ranked[: query.limit]))
        hits, judged = await self._judgement(query, asked, hits)
        said = msgspec.structs.replace(said, calibrated=True, best=judged.best)
        places = judged.shown(query.limit)
        if not places:
            return await self._nothing(said)
        return msgspec.structs.replace(
            said, hits=tuple(_found(hits[place], float(judged.chances[place])) for place in places)
        )

    async def _judgement(self, query: Query, asked: QueryVectors, hits: Sequence[Hit]) -> tuple[Sequence[Hit], Scores]:
        """The candidates that stay in, and what is thought of them: with a matching head only those it looked at."""
        judged = self._judge.judge(asked, hits)
        if self._rereader is None or not asked.phrases:
            return hits, judged
        nearest = np.argsort(-judged.chances, kind="stable")[: max(self._settings.reread, query.limit)]
        hits = [hits[place] for place in nearest]
        return hits, self._judge.judge(asked, hits, await self._rereader.odds(asked.phrases, hits))

    async def _newest(self, query: Query, where: Filter) -> tuple[Found, ...]:
        """For a query of filters or negatives alone."""
        found, _ = await self._index.scroll(self._settings.collection, where=where, limit=MOST_BROWSED)
        kept = [hit for hit in found if not any(says(hit.payload, entry) for entry in query.negatives)]
        kept.sort(key=lambda hit: hit.payload.get("time") or "", reverse=True)
        return tuple(_found(hit) for hit in kept[: query.limit])

    async def _nothing(self, said: SearchResult) -> SearchResult:
        return msgspec.structs.replace(said, nothing_matches=True, contents=await self.contents())

    async def contents(self) -> Contents:
        """What the tenant's part of the index holds."""
        name, mine = self._settings.collection, Filter(must=(Match(field="tenant", any_of=(self._settings.tenant,)),))
        feeds, labels, phrases, pictures = await asyncio.gather(
            self._index.facet(name, "feed", where=mine, limit=FACET_LIMIT),
            self._index.facet(name, "labels", where=mine, limit=FACET_LIMIT),
            self._index.facet(name, "compound", where=mine, limit=8 * FACET_LIMIT),
            self._index.count(name, mine),
        )
        return Contents(pictures=pictures, feeds=dict(feeds), labels=dict(labels), phrases=_telling(phrases))


def _needed(name: str, asked: QueryVectors) -> tuple[str, ...]:
    semantic = asked.text is not None or bool(asked.negatives)
    return (name, SEMANTIC) if semantic and name != SEMANTIC else (name,)


def _telling(phrases: Mapping[str, int]) -> dict[str, int]:
    """Pairs of words that both mean something: "red circle", not "circle and"."""
    telling = [(phrase, count) for phrase, count in phrases.items() if not STOPWORDS & set(phrase.split())]
    return dict(telling[:FACET_LIMIT])


def _found(hit: Hit, probability: float | None = None) -> Found:
    return Found(id=hit.id, score=hit.score, probability=probability, payload=hit.payload)
