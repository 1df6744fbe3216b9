"""A second look at the nearest pictures by a model that reads query and picture together (Li et al. 2022: BLIP).

Two vectors know that there is red and a circle; reading both together knows whether the circle is the red one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np

from processors.headers import Unreadable
from search.models import Array, Matcher, Pixels
from search.uploads import decode_upload
from stores.blobs import BlobStore
from stores.errors import Missing, Refused
from stores.index import Hit


class Rereader:
    """`models` is the one thread in which models run."""

    def __init__(self, matcher: Matcher, blobs: BlobStore, tenant: str, models: Executor) -> None:
        self._matcher = matcher
        self._blobs = blobs
        self._tenant = tenant
        self._models = models

    async def odds(self, texts: Sequence[str], hits: Sequence[Hit]) -> Array:
        """Log-odds [texts, hits], NaN for a picture whose blob is gone. Raises StoreUnavailable."""
        pictures = await asyncio.gather(*(self._picture(hit) for hit in hits))
        return await asyncio.get_running_loop().run_in_executor(self._models, self._match, texts, pictures)

    def _match(self, texts: Sequence[str], pictures: Sequence[Pixels | None]) -> Array:
        found = np.full((len(texts), len(pictures)), np.nan, np.float32)
        there = [place for place, picture in enumerate(pictures) if picture is not None]
        seen = [picture for picture in pictures if picture is not None]
        pairs = [(text, picture) for text in texts for picture in seen]
        if pairs:
            odds = self._matcher.match([text for text, _ in pairs], [picture for _, picture in pairs])
            found[:, there] = odds.reshape(len(texts), len(seen))
        return found

    async def _picture(self, hit: Hit) -> Pixels | None:
        uri = hit.payload.get("uri")
        if not uri:
            return None
        try:
            content = await self._blobs.get(self._tenant, uri)
            return await asyncio.to_thread(decode_upload, content)
        except (Missing, Refused, Unreadable, ValueError):
            return None
