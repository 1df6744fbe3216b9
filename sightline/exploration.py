"""From one picture to pictures like it: caption, search of an API by that caption, ingest, index, rank."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry
from rich.console import Console

from processors.keywords import keywords
from schemas.identity import check_name, frame_id
from search.query import Filters, Query
from search.results import Found
from sightline.config import Config, SearchSettings
from sightline.ingest_runner import feed_source, shown
from sightline.wiring.build_worker import build_worker
from sightline.wiring.idle import shown_until_caught_up
from sightline.wiring.parts import Parts
from sightline.wiring.searcher import load_searcher
from streams.clock import SystemClock
from streams.sources.acceptor import Report, Summary
from streams.sources.fetcher import Fetcher
from streams.sources.image_search import ImageSearch, Result, Search, shipped
from streams.sources.source import Offer, Picture, Repeated
from streams.sources.source_choice import slug
from streams.sources.url_guard import redacted
from streams.sources.urls import from_urls

CACHE = "apis"
"""Folder of kept answers in the data folder."""


def known_apis(config: Config) -> dict[str, ImageSearch]:
    """The shipped ones and the configuration's, which may take their place."""
    return {**shipped(), **config.apis}


def queries(caption: str) -> list[str]:
    """What an API is asked for, until it knows some picture: the caption's words, then each of its things."""
    said = keywords([caption])
    asked = [" ".join(said.simple), *said.compound, *said.simple] if said.simple else [caption]
    return list(dict.fromkeys(asked))


@dataclass(slots=True)
class Exploration:
    """Pictures found by `query` at an API, under a feed of their own; `of` leads from a frame's id to its result."""

    parts: Parts
    search: Search
    query: str
    of: dict[str, Result] = field(default_factory=dict)

    @property
    def feed(self) -> str:
        """One for each API and query: what was found before is known, and only that is ranked."""
        return check_name("feed", slug(f"{self.search.name}-{self.query}"))

    async def ingest(self, results: Sequence[Result], console: Console) -> Summary:
        """Fetch and accept them, with a progress bar."""
        by_url = {result.url: result for result in results}

        def note(url: str, offer: Offer) -> None:
            if isinstance(offer, Picture | Repeated):
                self.of[frame_id(self.parts.config.tenant, self.feed, offer.position)] = by_url[url]

        def page(url: str) -> str:
            """Where the API has pages of its pictures these stay; the pictures' own URLs may be new every day."""
            return redacted(by_url[url].link or url)

        async def fed(report: Report) -> Summary:
            source = from_urls(by_url, self.search.fetcher, stable=page, heard=note)
            return await feed_source(self.parts, source, self.feed, report)

        (summary,) = await shown([(self.feed, fed)], console)
        return summary

    async def work(self, console: Console) -> None:
        """Everything accepted is enriched and indexed, by workers of this process."""
        async with _working(self.parts) as works:
            idle = asyncio.create_task(shown_until_caught_up(self.parts, console))
            await asyncio.wait([idle, *works], return_when=asyncio.FIRST_COMPLETED)
            if idle.done():
                idle.result()
            else:
                idle.cancel()

    async def ranked(self, picture: bytes, limit: int) -> Sequence[Found]:
        """The feed's pictures, the most similar first, however little they are."""
        whole = msgspec.structs.replace(self.parts.config, search=SearchSettings(threshold=0.0))
        searcher = await asyncio.to_thread(load_searcher, whole, self.parts.index, self.parts.blobs)
        try:
            query = Query(image=picture, filters=Filters(feeds=(self.feed,)), limit=limit)
            return (await searcher.search(query)).hits
        finally:
            searcher.close()


@asynccontextmanager
async def _working(parts: Parts) -> AsyncIterator[Sequence[asyncio.Task[None]]]:
    """A worker for every segment of the plan, stopped in peace at the end."""
    async with AsyncExitStack() as stack:
        workers = [build_worker(parts, number, CollectorRegistry()) for number in range(len(parts.plan.segments))]
        works = [asyncio.create_task(worker.run()) for worker in workers]
        stack.push_async_callback(_ended, works)
        for worker in workers:
            stack.callback(worker.stop)
        yield works


async def _ended(works: Sequence[asyncio.Task[None]]) -> None:
    """Raises what ended a worker by itself."""
    await asyncio.gather(*works)


def make_search(config: Config, name: str, api: ImageSearch) -> Search:
    cache: Path = config.data_path / CACHE
    return Search(name=name, api=api, fetcher=Fetcher(config.fetch, SystemClock()), cache=cache)
