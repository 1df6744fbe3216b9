"""A second look at the nearest pictures by a model that reads query and picture together (Li et al. 2022: BLIP).

Two vectors know that there is red and a circle; reading both together knows whether the circle is the red one.
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

KEPT_BYTES = 256 << 20
"""Looks that are kept: a tiny one is 130 KB, a base one 1.8 MB. People search the same pictures again and again."""


class Reranker:
    """`models` is the one thread in which models run."""

    def __init__(self, matcher: Matcher, blobs: BlobStore, tenant: str, models: Executor) -> None:
        self._matcher = matcher
        self._blobs = blobs
        self._tenant = tenant
        self._models = models
        self._looks: OrderedDict[str, ImageFeatures] = OrderedDict()
        self._kept_bytes = 0

    async def odds(self, texts: Sequence[str], hits: Sequence[Hit]) -> Array:
        """Log-odds [texts, hits], NaN for a picture whose blob is gone. Raises StoreUnavailable."""
        unseen = [hit for hit in hits if hit.id not in self._looks]
        pictures = await asyncio.gather(*(self._picture(hit) for hit in unseen))
        found = {hit.id: picture for hit, picture in zip(unseen, pictures, strict=True) if picture is not None}
        return await asyncio.get_running_loop().run_in_executor(self._models, self._read, texts, hits, found)

    def _read(self, texts: Sequence[str], hits: Sequence[Hit], pictures: Mapping[str, Pixels]) -> Array:
        looks = {hit.id: look for hit in hits if (look := self._looks.get(hit.id)) is not None}
        looks |= dict(zip(pictures, self._matcher.encode_images(list(pictures.values())), strict=True))
        self._keep(looks)
        found = np.full((len(texts), len(hits)), np.nan, np.float32)
        there = [place for place, hit in enumerate(hits) if hit.id in looks]
        pairs = [(text, looks[hits[place].id]) for text in texts for place in there]
        if pairs:
            odds = self._matcher.match_features([text for text, _ in pairs], [look for _, look in pairs])
            found[:, there] = odds.reshape(len(texts), len(there))
        return found

    def _keep(self, looks: Mapping[str, ImageFeatures]) -> None:
        for name, look in looks.items():
            if name not in self._looks:
                self._kept_bytes += look.nbytes
            self._looks[name] = look
            self._looks.move_to_end(name)
        while self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= self._looks.popitem(last=False)[1].nbytes

    async def _picture(self, hit: Hit) -> Pixels | None:
        uri = hit.payload.get("uri")
        if not uri:
            return None
        try:
            content = await self._blobs.get(self._tenant, uri)
            return await asyncio.to_thread(decode_upload, content)
        except (Missing, Refused, Unreadable, ValueError):
            return None
