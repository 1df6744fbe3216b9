"""Frames that were erased: the API answers 410 for them, whatever is still cached or on the log."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from litestar.exceptions import HTTPException

from streams.errors import Forbidden, Unavailable
from streams.lifecycle.deletions import Deletions
from streams.lifecycle.erasure import erased_words
from streams.transport import Transport

POLL_SECONDS = 1.0
"""The log is asked for new deletions this often at most: a page asks for many pictures at once."""


class ErasedFrames:
    def __init__(self, transport: Transport) -> None:
        self._deletions = Deletions(transport)
        self._turn, self._asked = asyncio.Lock(), float("-inf")

    async def known(self) -> Deletions:
        """Frames that were erased, or are being erased. While the log is away, those that were known before."""
        async with self._turn:
            if time.monotonic() - self._asked >= POLL_SECONDS:
                with suppress(Unavailable, Forbidden):
                    await self._deletions.catch_up()
                    self._asked = time.monotonic()
        return self._deletions

    async def check(self, frame: str) -> None:
        """Raises HTTPException (410) for a frame that was erased, or is being erased."""
        deletions, words = await self.known(), "was erased"
        if frame not in deletions:
            return
        with suppress(Unavailable, Forbidden):
            if (deletion := await deletions.latest(frame)) is not None:
                words = erased_words(deletion)
        raise HTTPException(status_code=410, detail=f"frame {frame} {words}")
