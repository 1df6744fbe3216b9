"""From one picture to similar ones: caption it, search an API for the caption, ingest and index what it finds, rank."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry
from rich.console import Console

from processors.keywords import keywords
from schemas.identity import check_name, frame_id
from search.query import Filters, Query
from search.results import SearchHit
from sightline.config import Config, SearchSettings
from sightline.ingest_runner import ingest_source
from sightline.terminal.progress import with_bars, with_status
from sightline.wiring.build_worker import build_worker
from sightline.wiring.idle import caught_up, describe_left
from sightline.wiring.parts import Parts
from sightline.wiring.searcher import opened_searcher
from streams.clock import SystemClock
from streams.sources.feed_names import slug
from streams.sources.fetcher import Fetcher
from streams.sources.image_search import ImageSearch, ImageSearchClient, Result, shipped_apis
from streams.sources.ingest_counts import Report, Summary
from streams.sources.source import Offer, Picture, Repeated
from streams.sources.url_guard import redacted
from streams.sources.urls import from_urls

CACHE = "apis"
"""Folder of cached API answers in the data folder."""


def known_apis(config: Config) -> dict[str, ImageSearch]:
    """The shipped ones and the configuration's, which replace shipped ones of the same name."""
    return {**shipped_apis(), **config.apis}


def api_queries(caption: str) -> list[str]:
    """Queries for an API, to be tried until one finds a picture: all keywords of the caption, then each by itself."""
    words = keywords([caption])
    queries = [" ".join(words.simple), *words.compound, *words.simple] if words.simple else [caption]
    return list(dict.fromkeys(queries))


def make_search(config: Config, name: str, api: ImageSearch) -> ImageSearchClient:
    cache: Path = config.data_path / CACHE
    return ImageSearchClient(name=name, api=api, fetcher=Fetcher(config.fetch, SystemClock()), cache=cache)


@dataclass(slots=True)
class Exploration:
    """Pictures that an API found for `query`, in a feed of their own."""

    parts: Parts
    search: ImageSearchClient
    query: str
    results: dict[str, Result] = field(default_factory=dict)
    """The API's result of each ingested frame, by frame id."""

    @property
    def feed(self) -> str:
        """One for each API and query: pictures of an earlier run are ranked too, and no others."""
        return check_name("feed", slug(f"{self.search.name}-{self.query}"))

    async def ingest(self, results: Sequence[Result], console: Console) -> Summary:
        """Fetch and accept them, with a progress bar."""
        by_url = {result.url: result for result in results}

        def note(url: str, offer: Offer) -> None:
            if isinstance(offer, Picture | Repeated):
                self.results[frame_id(self.parts.config.tenant, self.feed, offer.position)] = by_url[url]

        def stable_name(url: str) -> str:
            """The page of the picture, where the API has pages: a picture's own URL may change every day."""
            return redacted(by_url[url].link or url)

        async def run(report: Report) -> Summary:
            source = from_urls(by_url, self.search.fetcher, stable_name=stable_name, on_offer=note)
            return await ingest_source(self.parts, source, self.feed, report)

        (summary,) = await with_bars([(self.feed, run)], console)
        if isinstance(summary, Exception):
            raise summary
        return summary

    async def work(self, console: Console) -> None:
        """Enrich and index everything accepted, with workers of this process."""
        async with _running_workers(self.parts) as workers:
            work = with_status(caught_up(self.parts), partial(describe_left, self.parts), console)
            waiting = asyncio.create_task(work)
            await asyncio.wait([waiting, *workers], return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                waiting.result()
            else:
                waiting.cancel()

    async def ranked(self, picture: bytes, limit: int) -> Sequence[SearchHit]:
        """The feed's pictures, the most similar first, dissimilar ones included."""
        config = msgspec.structs.replace(self.parts.config, search=SearchSettings(threshold=0.0))
        async with opened_searcher(config, self.parts.index, self.parts.blobs) as searcher:
            query = Query(image=picture, filters=Filters(feeds=(self.feed,)), limit=limit)
            return (await searcher.search(query)).hits


@asynccontextmanager
async def _running_workers(parts: Parts) -> AsyncIterator[Sequence[asyncio.Task[None]]]:
    """A worker for every segment of the plan; they drain at the end. Raises what ended a worker by itself."""
    async with AsyncExitStack() as stack:
        workers = [build_worker(parts, number, CollectorRegistry()) for number in range(len(parts.plan.segments))]
        tasks = [asyncio.create_task(worker.run()) for worker in workers]
        stack.push_async_callback(_await_all, tasks)
        for worker in workers:
            stack.callback(worker.stop)
        yield tasks


async def _await_all(tasks: Sequence[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)
