"""A stage that reports its start and then waits for permission to continue: it keeps a batch in flight."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from processors.frame import Frame, Invalid

DEADLINE_SECONDS = 60.0
LOOK_SECONDS = 0.02


class Hold:
    """Writes its first batch's size into `began`, and returns when `go` is there (both in `folder`)."""

    class Settings(Struct, frozen=True, forbid_unknown_fields=True):
        folder: str = ""

    name, lane = "hold", "gpu"
    requires, provides = frozenset({"pixels"}), frozenset({"results"})

    def __init__(self, settings: Settings) -> None:
        self._folder = Path(settings.folder)

    def open(self, device: str) -> None: ...

    def process(self, frames: Sequence[Frame]) -> Sequence[Invalid | None]:
        if not (self._folder / "began").exists():
            (self._folder / "begins").write_text(str(len(frames)))
            (self._folder / "begins").rename(self._folder / "began")
        waited, left = threading.Event(), DEADLINE_SECONDS
        while not (self._folder / "go").exists() and left > 0:
            waited.wait(LOOK_SECONDS)
            left -= LOOK_SECONDS
        return [None] * len(frames)

    def close(self) -> None: ...
