"""What the worker does about a stage's errors.

Invalid            the frame is dead at once
Transient          retry with growing pauses; kills no frame
OutOfMemory        half the batch, and smaller batches for a while
anything else      unknown: bisect until the poison frame stands alone, and dead-letter it; where many fail, the
                   stage is broken, not the frames: stop and keep them
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from processors.errors import OutOfMemory, Transient
from processors.frame import Invalid, Verdicts
from streams.errors import StageBroken
from streams.metrics import Metrics
from streams.retry import Retry
from streams.worker.in_flight import InFlightFrame

Call = Callable[[Sequence[InFlightFrame]], Awaitable[Verdicts]]

RECENT_OUTCOMES = 16
FAILURES_OF_SEVERAL_FEEDS = 4
"""This many unknown errors or more among the last outcomes, half of them or more, from several feeds: the stage."""
FAILURES_IN_A_ROW = 8
"""This many frames in a row with no success between: the stage is broken, even if there is only one feed."""
SUCCESSES_TO_GROW = 32
"""Batches at a reduced size before the size is doubled again: the memory may be free by then."""


class FailureWindow:
    """Decides from the last outcomes whether unknown errors are the frames' fault or the stage's."""

    def __init__(self) -> None:
        self._recent: deque[str | None] = deque(maxlen=RECENT_OUTCOMES)
        self._in_a_row = 0

    def succeeded(self, frames: int) -> None:
        self._in_a_row = 0
        self._recent.extend([None] * min(frames, RECENT_OUTCOMES))

    def failed(self, feed: str) -> bool:
        """Note a frame that failed alone; returns whether the stage counts as broken."""
        self._in_a_row += 1
        self._recent.append(feed)
        failures = [entry for entry in self._recent if entry is not None]
        spread = len(set(failures)) > 1 and len(failures) >= FAILURES_OF_SEVERAL_FEEDS
        return self._in_a_row >= FAILURES_IN_A_ROW or (spread and 2 * len(failures) >= len(self._recent))


class StagePolicy:
    """Runs one stage's calls under the policy. When `call` raises, it has undone its changes."""

    def __init__(self, stage: str, retry: Retry, metrics: Metrics) -> None:
        self._stage = stage
        self._retry = retry
        self._metrics = metrics
        self._failures = FailureWindow()
        self._limit: int | None = None
        self._successes = 0

    async def run(self, frames: Sequence[InFlightFrame], call: Call) -> list[Invalid | None]:
        """One verdict per frame, in order. Raises StageBroken, naming the cause; then no frame has died."""
        verdicts: list[Invalid | None] = []
        while len(verdicts) < len(frames):
            piece = frames[len(verdicts) :][: self._limit]
            try:
                verdicts += await self._retry.forever(f"stage {self._stage}", lambda p=piece: call(p), Transient)  # type: ignore[misc]
            except (OutOfMemory, MemoryError) as error:
                verdicts += self._halve(piece, error)
            except Exception as error:
                verdicts += await self._bisect(piece, call, error)
            else:
                self._succeeded(len(piece))
        return verdicts

    def _halve(self, piece: Sequence[InFlightFrame], error: Exception) -> list[Invalid | None]:
        """Lower the limit; a frame that does not fit alone is dead."""
        self._metrics.retries.labels("out_of_memory").inc()
        self._successes = 0
        if len(piece) == 1:
            return [Invalid("out_of_memory", f"does not fit alone: {error}")]
        self._limit = len(piece) // 2
        return []

    async def _bisect(self, piece: Sequence[InFlightFrame], call: Call, error: Exception) -> list[Invalid | None]:
        message = f"{type(error).__name__}: {error}"
        if len(piece) == 1:
            if self._failures.failed(piece[0].feed):
                raise StageBroken(f"stage {self._stage} fails for frame after frame, last with {message}") from error
            return [Invalid("stage_error", message)]
        self._metrics.retries.labels("bisect").inc()
        half = len(piece) // 2
        return [*await self.run(piece[:half], call), *await self.run(piece[half:], call)]

    def _succeeded(self, frames: int) -> None:
        self._failures.succeeded(frames)
        if self._limit is None:
            return
        self._successes += 1
        if self._successes >= SUCCESSES_TO_GROW:
            self._successes, self._limit = 0, 2 * self._limit
            if self._limit >= 1 << 10:
                self._limit = None
