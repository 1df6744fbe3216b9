"""The real application over a real log, index and blobs, served on a free port, seen by a real Chromium."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright
from prometheus_client import CollectorRegistry

from processors.models.clip import Clip
from processors.models.vit import Vit
from search.calibrate import load
from search.models import Pixels, SearchModels
from search.retrieve import Searcher, SearcherSettings
from search.vocabulary import load_vocabulary
from sightline.api.app import create_app
from sightline.api.server import Server, listen
from sightline.api.services import ApiSettings, Services
from tests.browser.world import MODEL_SET, NAME, Shown, World, opened, shown
from tinyworld.samples import staged

CHECKPOINTS = Path(__file__).parents[2] / "tinyworld" / "checkpoints"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
KINDS = (
    (("red", "circle"),),
    (("red", "circle"), ("blue", "square")),
    (("red", "circle"), ("green", "star")),
    (("red", "square"), ("blue", "circle")),
    (("yellow", "star"),),
    (("purple", "cross"), ("cyan", "ring")),
)
"""A red circle stands alone, beside a star, and beside a square; a red square stands beside another circle."""


@pytest.fixture(scope="session")
def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    return path


@pytest.fixture(scope="session")
def models() -> tuple[Clip, Vit]:
    import torch

    torch.set_num_threads(1)
    return Clip.load(CHECKPOINTS / "clip"), Vit.load(CHECKPOINTS / "vit")


@dataclass(frozen=True, slots=True)
class Site:
    """A served deployment and the pictures in it."""

    url: str
    world: World
    pictures: list[Shown]


def pictures(seed: int = 3) -> list[Shown]:
    rng = np.random.default_rng(seed)
    scenes = [staged(rng, kinds, "cartoon" if index % 2 else "photo") for index, kinds in enumerate(KINDS)]
    return shown(*scenes, seed=seed)


@asynccontextmanager
async def served(folder: Path, models: tuple[Clip, Vit], **changed: Any) -> AsyncIterator[Site]:
    """An empty deployment in `folder`, served until the end."""
    clip, vit = models
    world = await opened(folder, clip, vit)
    search_models = SearchModels(
        semantic=clip,
        visual=vit,
        calibration=load(CHECKPOINTS / "clip"),
        vocabulary=load_vocabulary(CHECKPOINTS / "clip"),
    )
    searcher = Searcher(world.index, search_models, SearcherSettings(collection=NAME))
    settings = ApiSettings(
        model_set=MODEL_SET, collection=NAME, poll_seconds=0.05, skip_states={"gate:": "gated"}, **changed
    )
    app = create_app(Services(world.transport, world.index, world.blobs, searcher, settings, CollectorRegistry()))
    server, listener = Server(app), listen("127.0.0.1", 0)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield Site(f"http://127.0.0.1:{listener.getsockname()[1]}", world, [])
    finally:
        server.should_exit = True
        await serving
        searcher.close()
        await world.close()


@pytest_asyncio.fixture(loop_scope="session")
async def empty_site(tmp_path: Path, models: tuple[Clip, Vit]) -> AsyncIterator[Site]:
    """An empty deployment of the test's own."""
    async with served(tmp_path, models, is_local=True) as site:
        yield site


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory, models: tuple[Clip, Vit]) -> AsyncIterator[Site]:
    """Six pictures of two feeds, and a gated one. Tests must not change it."""
    async with served(tmp_path_factory.mktemp("site"), models) as site:
        made = pictures()
        await site.world.add(made[:3], feed="lobby")
        await site.world.add(made[3:], feed="yard")
        await site.world.add(pictures(seed=4)[:1], feed="yard", gated=True)
        yield replace(site, pictures=made)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def crowded_site(tmp_path_factory: pytest.TempPathFactory, models: tuple[Clip, Vit]) -> AsyncIterator[Site]:
    """Twelve scenes of one feed, one of them seen four times. Tests must not change it."""
    async with served(tmp_path_factory.mktemp("crowded"), models, limit=5) as site:
        rng = np.random.default_rng(12)
        kinds = [
            (color, shape) for color in ("red", "green", "blue", "yellow") for shape in ("circle", "square", "star")
        ]
        made = shown(*(staged(rng, (kind,), "cartoon") for kind in kinds), seed=12)
        repeated = [replace(made[-1], rendered=replace(made[-1].rendered, image=noisy(made[-1], n))) for n in range(3)]
        await site.world.add([*made, *repeated], feed="lot")
        yield replace(site, pictures=made)


def noisy(picture: Shown, seed: int) -> Pixels:
    """As a camera sees the same scene once more."""
    image = picture.rendered.image
    noise = np.random.default_rng(seed).integers(-2, 3, image.shape)
    changed: Pixels = np.clip(image + noise, 0, 255).astype(np.uint8)
    return changed


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        await browser.close()


@pytest.fixture
def errors() -> list[str]:
    """Errors and warnings of the console; a test that expects one removes it."""
    return []


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, errors: list[str]) -> AsyncIterator[Page]:
    """Any error on the console fails the test, including violations of the content security policy."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = await context.new_page()
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.set_default_timeout(30_000)
    yield page
    assert errors == []
    await context.close()
