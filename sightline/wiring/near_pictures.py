"""Frames whose picture looks like another one, by the vectors in the index."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from schemas.points import VISUAL
from search.uploads import decode_upload
from sightline.config import Config
from sightline.wiring.build_worker import frames_collection
from sightline.wiring.existing_data import check_indexed
from sightline.wiring.models import load_vit
from sightline.wiring.parts import Parts
from stores.index import Filter, Match

MOST_NEAR = 1_000
"""Frames that one request takes; once they are erased, the next request finds others."""


async def near_frames(parts: Parts, picture: bytes, tenant: str, least: float) -> dict[str, float]:
    """The cosine by frame, best first. Raises Missing without an index, Unreadable for what is no picture."""
    await check_indexed(parts.config, parts.index)
    name, vector = await asyncio.to_thread(_embedded, parts.config, picture)
    where = Filter(must=(Match(field="tenant", any_of=(tenant,)),))
    hits = await parts.index.search(frames_collection(parts.config), name, vector, where=where, limit=MOST_NEAR)
    return {str(hit.payload["frame"]): hit.score for hit in hits if hit.score >= least}


def _embedded(config: Config, picture: bytes) -> tuple[str, NDArray[np.float32]]:
    """Blocking: loads models."""
    decoded = decode_upload(picture)
    return VISUAL, load_vit(config).embed_images([decoded])[0]
