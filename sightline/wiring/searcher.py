"""Builds the searcher: both embedding models, the calibration beside the weights, the vocabulary, the matching head."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from search.calibrate import load as load_calibration
from search.models import SearchModels
from search.retrieve import Searcher, SearcherSettings
from search.score import Scorer
from search.vocabulary import load_vocabulary
from sightline.config import Config
from sightline.wiring.build_worker import frames_collection
from sightline.wiring.models import load_clip, load_matcher, load_vit
from sightline.wiring.weights import EMBED, with_weights
from stores.blobs import BlobStore
from stores.index import Index


@asynccontextmanager
async def opened_searcher(config: Config, index: Index, blobs: BlobStore) -> AsyncIterator[Searcher]:
    """The matching head reads pictures from `blobs`. Raises WrongWeights, BadCalibration."""
    searcher = await asyncio.to_thread(_load_searcher, config, index, blobs)
    try:
        yield searcher
    finally:
        searcher.close()


def _load_searcher(config: Config, index: Index, blobs: BlobStore) -> Searcher:
    """Blocking: loads models."""
    folder = Path(with_weights(config, EMBED)["weights"]).expanduser()
    calibration = load_calibration(folder)
    settings = SearcherSettings(
        tenant=config.tenant, threshold=config.search.threshold, collection=frames_collection(config)
    )
    models = SearchModels(
        semantic=load_clip(config),
        visual=load_vit(config),
        matcher=load_matcher(config) if Scorer(calibration).uses_matcher else None,
        calibration=calibration,
        vocabulary=load_vocabulary(folder),
    )
    return Searcher(index, models, settings, blobs)
