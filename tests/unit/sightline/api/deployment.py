"""The application over a small world of the test's own, for tests that write to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
from prometheus_client import CollectorRegistry

from search.models import SearchModels
from search.retrieve import Searcher, SearcherSettings
from sightline.api.app import Application, create_app
from sightline.api.services import ApiSettings, Services
from tests.browser.world import NAME, Shown, World, opened, shown
from tests.unit.search.bags import Bags
from tinyworld.samples import staged

GATED = {"gate:": "gated"}


class Deployment(NamedTuple):
    app: Application
    client: httpx.AsyncClient
    world: World
    bags: Bags

    def pictures(self, *kinds: tuple[tuple[str, str], ...], seed: int = 5) -> list[Shown]:
        """Pictures whose vectors are bags of their captions' words."""
        rng = np.random.default_rng(seed)
        made = shown(*(staged(rng, each, "photo") for each in kinds), seed=seed)
        for picture in made:
            self.bags.show(picture.rendered.image, picture.caption)
        return made

    async def read_log(self) -> None:
        """As the running server does by itself."""
        while await self.app.live.step():
            pass
        await self.app.live.step()


@asynccontextmanager
async def deployed(folder: Path, **settings: Any) -> AsyncIterator[Deployment]:
    bags = Bags()
    world = await opened(folder, bags, bags)
    searcher = Searcher(world.index, SearchModels(bags, bags), SearcherSettings(collection=NAME))
    api = ApiSettings(model_set="hand-1", collection=NAME, poll_seconds=0.02, skip_states=GATED, **settings)
    app = create_app(Services(world.transport, world.index, world.blobs, searcher, api, CollectorRegistry()))
    routed: Any = app
    async with httpx.AsyncClient(transport=httpx.ASGITransport(routed), base_url="http://127.0.0.1:8000") as client:
        yield Deployment(app, client, world, bags)
    searcher.close()
    await world.close()
