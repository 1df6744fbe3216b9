"""A stage that stays in native code, out of reach of Python's signal handlers: when imported, or when it opens."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from processors.frame import Frame, Invalid

ROUNDS = 500_000_000
"""Minutes of work, without the interpreter lock."""


def get_stuck() -> None:
    Path("stuck").touch()
    hashlib.pbkdf2_hmac("sha256", b"", b"", ROUNDS)


if os.environ.get("STUCK_WHILE_IMPORTED"):
    get_stuck()


class Stuck:
    """Never opens."""

    class Settings(Struct, frozen=True, forbid_unknown_fields=True): ...

    name, lane = "stuck", "gpu"
    requires, provides = frozenset({"pixels"}), frozenset({"results"})

    def __init__(self, settings: Settings) -> None: ...

    def open(self, device: str) -> None:
        get_stuck()

    def process(self, frames: Sequence[Frame]) -> Sequence[Invalid | None]:
        return [None] * len(frames)

    def close(self) -> None: ...
