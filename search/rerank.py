"""Re-ranking of the nearest pictures by a model that reads query and picture together (Li et al. 2022: BLIP).

Two vectors tell that there is red and a circle. Reading both together tells whether the circle is the red one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

import numpy as np

from processors.headers import Unreadable
from search.models import Array, ImageFeatures, Matcher, Pixels
from search.uploads import decode_upload
from stores.blobs import BlobStore
from stores.errors import Missing, Refused
from stores.index import Hit

CACHE_BYTES = 256 << 20
"""Cached features: a tiny model's take 130 KB a picture, a base model's 1.8 MB. Searches repeat pictures."""


class Reranker:
    """Computes the matching head's log-odds of hits, with a cache of pictures' features.

    `executor` is the one thread in which models run.
    """

    def __init__(self, matcher: Matcher, blobs: BlobStore, tenant: str, executor: Executor) -> None:
        self._matcher = matcher
        self._blobs = blobs
        self._tenant = tenant
        self._executor = executor
        self._cache: OrderedDict[str, ImageFeatures] = OrderedDict()
        self._cached_bytes = 0

    async def log_odds(self, texts: Sequence[str], hits: Sequence[Hit]) -> Array:
        """Log-odds [texts, hits], NaN for a picture whose blob is gone. Raises StoreUnavailable."""
        uncached = [hit for hit in hits if hit.id not in self._cache]
        decoded = await asyncio.gather(*(self._picture(hit) for hit in uncached))
        pictures = {hit.id: picture for hit, picture in zip(uncached, decoded, strict=True) if picture is not None}
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._match, texts, hits, pictures)

    def _match(self, texts: Sequence[str], hits: Sequence[Hit], pictures: Mapping[str, Pixels]) -> Array:
        """In the models' thread."""
        features = {hit.id: cached for hit in hits if (cached := self._cache.get(hit.id)) is not None}
        features |= dict(zip(pictures, self._matcher.encode_images(list(pictures.values())), strict=True))
        self._keep(features)
        matrix = np.full((len(texts), len(hits)), np.nan, np.float32)
        columns = [column for column, hit in enumerate(hits) if hit.id in features]
        pairs = [(text, features[hits[column].id]) for text in texts for column in columns]
        if pairs:
            odds = self._matcher.match_features([text for text, _ in pairs], [picture for _, picture in pairs])
            matrix[:, columns] = odds.reshape(len(texts), len(columns))
        return matrix

    def _keep(self, features: Mapping[str, ImageFeatures]) -> None:
        """Add to the cache, or mark as used; evict the least recently used above the limit."""
        for frame, picture in features.items():
            if frame not in self._cache:
                self._cached_bytes += picture.nbytes
            self._cache[frame] = picture
            self._cache.move_to_end(frame)
        while self._cached_bytes > CACHE_BYTES:
            self._cached_bytes -= self._cache.popitem(last=False)[1].nbytes

    async def _picture(self, hit: Hit) -> Pixels | None:
        uri = hit.payload.get("uri")
        if not uri:
            return None
        try:
            content = await self._blobs.get(self._tenant, uri)
            return await asyncio.to_thread(decode_upload, content)
        except (Missing, Refused, Unreadable, ValueError):
            return None
