"""Finds pictures: by text, by picture, by filters, and never what the query excludes.

The index gives candidates by cosine, already without those whose texts mention a negative of one or two words. The
calibration's curve gives each a probability. A picture that looks like a negative, but whose texts do not mention it,
is reduced by the probability that the negative matches. Filters alone give the newest pictures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import replace

import msgspec
import numpy as np
from msgspec import Struct

from schemas.points import FRAMES, SEMANTIC, VISUAL
from search.browse import Browser
from search.counts import Count, counts, phrases
from search.cursor import Cursor
from search.errors import BadQuery
from search.filters import conditions, mentions_any, out_of_domain
from search.models import SearchModels
from search.names import NameResolver
from search.query import Query
from search.ranking import Keep, Ranking
from search.reading import Reading, read
from search.rerank import Reranker
from search.results import Contents, SearchHit, SearchResult
from search.scenes import Scenes
from search.score import QueryVectors, Scorer
from search.uploads import decode_upload
from search.vocabulary import STOPWORDS
from stores.blobs import BlobStore
from stores.errors import Missing, Refused
from stores.index import Filter, Hit, Index, Match

FACET_LIMIT = 12
"""Entries of each kind that describe the index when nothing matches."""


class SearcherSettings(Struct, frozen=True, kw_only=True):
    tenant: str = "default"
    threshold: float | None = None
    """Overrides the curves' own: below it nothing matches."""
    rerank_limit: int = 32
    """The number of nearest pictures that the matching head reads at a time, where there is one."""
    collection: str = FRAMES
    """The alias of the current model set's collection."""


class LeftOut:
    """Whether a hit is of an erased frame, and whether one was met: then the index's count is too high."""

    def __init__(self, erased: Container[str]) -> None:
        self._erased, self.met = erased, False

    def __call__(self, hit: Hit) -> bool:
        is_erased = hit.id in self._erased
        self.met = self.met or is_erased
        return is_erased


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
        self._names = NameResolver(index, self._settings.collection, self._settings.tenant)
        self._reranker: Reranker | None = None
        if models.matcher is not None and blobs is not None and self._scorer.uses_matcher:
            self._reranker = Reranker(models.matcher, blobs, self._settings.tenant, self._executor)

    async def search(self, query: Query, erased: Container[str] = ()) -> SearchResult:
        """Frames that are `erased` are left out: an index may still have points of them.

        Raises StoreUnavailable, BadQuery for a cursor of another query, Missing (no collection, no picture `like`)
        and Unreadable for what is no picture."""
        reading, names = read(query, self._models.vocabulary), await self._names.resolve(query.filters)
        counted = await self._counts(query.text)
        result = _understood(reading, counted)
        result = msgspec.structs.replace(result, unknown_names=names.unknown)
        if reading.nothing_left or names.impossible:
            return await self._nothing(msgspec.structs.replace(result, nothing_left=reading.nothing_left))
        query, left_out = replace(reading.query, filters=names.filters), LeftOut(erased)
        where, keep = conditions(query, self._settings.tenant), _keep(query, counted, left_out)
        if query.like in erased:
            raise Missing(f"no picture {query.like} in the index")
        if query.text:
            strange = await self._index.count(self._settings.collection, out_of_domain(query, self._settings.tenant))
            result = msgspec.structs.replace(result, out_of_domain=strange)
        if query.text or query.image is not None or query.like:
            return await self._ranked(result, query, where, keep)
        return await self._newest(result, query, where, keep, left_out)

    def close(self) -> None:
        self._executor.shutdown()

    async def _counts(self, text: str) -> Sequence[Count]:
        wanted = phrases(text)
        return counts(wanted, await self._names.labels()) if wanted else ()

    async def _vectors(self, query: Query) -> QueryVectors:
        vectors = await asyncio.get_running_loop().run_in_executor(self._executor, self._embed, query)
        if not query.like or vectors.picture is not None:
            return vectors
        stored = await self._index.get(self._settings.collection, [query.like], with_vectors=(VISUAL, SEMANTIC))
        name = VISUAL if self._models.visual else SEMANTIC
        mine = [hit for hit in stored if hit.payload.get("tenant") == self._settings.tenant and name in hit.vectors]
        if not mine:
            raise Missing(f"no picture {query.like} in the index")
        return replace(vectors, picture=np.frombuffer(mine[0].vectors[name], dtype="<f4"), picture_vector=name)

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

    async def _ranked(self, result: SearchResult, query: Query, where: Filter, keep: Keep) -> SearchResult:
        """The answer's blocks, until they hold the page that begins after `skipped` hits."""
        skipped = _skipped(query.cursor)
        vectors, scenes = await self._vectors(query), Scenes() if query.fold else None
        ranking = Ranking(
            self._index, self._settings.collection, self._scorer, self._reranker, self._settings.rerank_limit, scenes
        )
        hits: list[SearchHit] = []
        best, is_whole = None, False
        async with aclosing(ranking.blocks(vectors, where, keep)) as blocks:
            async for block in blocks:
                if best is None:
                    best = block.best
                    if not block.matches:
                        break
                hits += block.hits
                is_whole = block.is_sparse
                if is_whole or len(hits) > skipped + query.limit:
                    break
        calibrated = self._scorer.is_calibrated_for(vectors)
        result = msgspec.structs.replace(result, ranked=True, calibrated=calibrated, best=best)
        if not hits:
            return await self._nothing(result)
        return _page(result, hits, skipped, query.limit, is_whole=is_whole or ranking.is_whole, scenes=scenes)

    async def _newest(
        self, result: SearchResult, query: Query, where: Filter, keep: Keep, left_out: LeftOut
    ) -> SearchResult:
        """The result of a query of filters or negatives alone."""
        if query.cursor is not None and not query.cursor.after:
            raise BadQuery("the cursor is of another query; leave it out for the first page")
        scenes = Scenes() if query.fold else None
        browser = Browser(self._index, self._settings.collection, scenes)
        try:
            page = await browser.newest(where, keep, query.limit, query.cursor.after if query.cursor else "")
        except Refused:
            if query.cursor is None:
                raise
            raise BadQuery(f"{query.cursor} is no cursor of this index; leave it out for the first page") from None
        if not page.hits and not page.after and query.cursor is None:
            return await self._nothing(result)
        hits, following = _with_similar(page.hits, scenes), str(Cursor(after=page.after)) if page.after else ""
        total, is_exact = sum(1 + len(hit.similar) for hit in hits), not (query.cursor or following)
        if not left_out.met and not any(len(negative.words) > 2 for negative in query.negatives):
            total, is_exact = await self._index.count(self._settings.collection, where), True
        return msgspec.structs.replace(result, hits=hits, cursor=following, total=total, total_is_exact=is_exact)

    async def _nothing(self, result: SearchResult) -> SearchResult:
        contents = await self.contents()
        return msgspec.structs.replace(result, nothing_matches=True, total_is_exact=True, contents=contents)

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


def _understood(reading: Reading, counted: Sequence[Count]) -> SearchResult:
    """A result without hits that tells how the query was read."""
    numbers = {count.typed for count in counted}
    return SearchResult(
        text=reading.query.text,
        negatives=tuple(negative.text for negative in reading.query.negatives),
        counts=tuple(map(str, counted)),
        notes=reading.query.notes,
        unknown_words=tuple(word for word in reading.unknown if word not in numbers),
    )


def _keep(query: Query, counted: Sequence[Count], left_out: LeftOut) -> Keep:
    def keep(hit: Hit) -> bool:
        return (
            not left_out(hit)
            and all(count.holds(hit) for count in counted)
            and not mentions_any(hit.payload, query.negatives)
        )

    return keep


def _skipped(cursor: Cursor | None) -> int:
    if cursor is not None and cursor.after:
        raise BadQuery("the cursor is of another query; leave it out for the first page")
    return cursor.skipped if cursor else 0


def _page(
    result: SearchResult, hits: Sequence[SearchHit], skipped: int, limit: int, *, is_whole: bool, scenes: Scenes | None
) -> SearchResult:
    found, end = _with_similar(hits, scenes), skipped + limit
    return msgspec.structs.replace(
        result,
        hits=found[skipped:end],
        cursor=str(Cursor(skipped=end)) if len(found) > end else "",
        total=sum(1 + len(hit.similar) for hit in found),
        total_is_exact=is_whole,
    )


def _with_similar(hits: Sequence[SearchHit], scenes: Scenes | None) -> tuple[SearchHit, ...]:
    if scenes is None:
        return tuple(hits)
    return tuple(msgspec.structs.replace(hit, similar=scenes.similar(hit.id)) for hit in hits)


def _meaningful(phrases: Mapping[str, int]) -> dict[str, int]:
    """Pairs of words that both carry meaning: "red circle", not "circle and"."""
    kept = [(phrase, count) for phrase, count in phrases.items() if not STOPWORDS & set(phrase.split())]
    return dict(kept[:FACET_LIMIT])
