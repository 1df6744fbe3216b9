"""Small real stages whose faults are data: a picture's JPEG comment names its fault.

ok                 nothing
invalid            the stage refuses it
transient:N        the first N calls that hold it raise Transient
oom:N              calls of more than N frames that hold it raise OutOfMemory
poison             calls that hold it raise an unknown error
short              calls that hold it give one verdict too few
nan, zero          its vector holds NaN, or nothing but zeros
abort              the process dies
abort_encoding     the process dies when its event is encoded
abort_once:FILE    the process dies unless FILE exists, which it creates
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np

from processors.errors import OutOfMemory, Transient
from processors.frame import Frame, Invalid, Verdicts
from processors.stage import Lane
from schemas.events import Answer, Caption, Embedding, Label

EMBEDDING_STAGES = frozenset({"embed"})
"""By name, those of the stages below that give a frame its point."""
DIMENSION = 8


def comment(content: bytes) -> str:
    """The JPEG's comment (segment 0xFFFE, the first after the start of the image)."""
    assert content[2:4] == b"\xff\xfe"
    length = int.from_bytes(content[4:6], "big")
    return content[6 : 4 + length].decode()


def commented(content: bytes, text: str) -> bytes:
    """`content`, a JPEG, with a comment that says its fate."""
    return content[:2] + b"\xff\xfe" + (len(text.encode()) + 2).to_bytes(2, "big") + text.encode() + content[2:]


class LethalZone(tzinfo):
    """Ends the process when a time in this zone is written."""

    def utcoffset(self, when: datetime | None) -> timedelta | None:
        os._exit(70)

    def dst(self, when: datetime | None) -> timedelta | None: ...

    def tzname(self, when: datetime | None) -> str | None: ...


class FateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.fate]`."""


class Fate:
    """Reads each frame's fate from its bytes and lets it happen; others get it as a label."""

    name: ClassVar[str] = "fate"
    lane: ClassVar[Lane] = "gpu"
    requires: ClassVar[frozenset[str]] = frozenset({"original"})
    provides: ClassVar[frozenset[str]] = frozenset({"labels"})
    Settings: ClassVar[type[FateSettings]] = FateSettings
    model = "fate"
    revision = "1"

    def __init__(self, settings: FateSettings | None = None) -> None:
        self.calls: list[list[str]] = []
        self._met: Counter[str] = Counter()

    def open(self, device: str) -> None: ...

    def close(self) -> None: ...

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        fates = [comment(frame.original or b"").split("#")[0] for frame in frames]
        self.calls.append(fates)
        for frame, fate in zip(frames, fates, strict=True):
            frame.labels = (*frame.labels, Label(name=fate, probability=1.0))  # appends: a retry must not show it
            self._befall(frame, fate, len(frames))
        verdicts = [Invalid("refused", "as it was told") if fate == "invalid" else None for fate in fates]
        return verdicts[1:] if "short" in fates else verdicts

    def _befall(self, frame: Frame, fate: str, size: int) -> None:
        kind, _, argument = fate.partition(":")
        if kind == "transient" and self._met[frame.id] < int(argument):
            self._met[frame.id] += 1
            raise Transient("the service is away")
        if kind == "oom" and size > int(argument):
            raise OutOfMemory(f"{size} frames do not fit")
        if kind == "poison":
            raise KeyError("unexpected")
        if kind == "abort_encoding":
            frame.results[self.name] = {"when": datetime(2026, 1, 1, tzinfo=LethalZone())}
        if kind == "abort" or (kind == "abort_once" and not Path(argument).exists()):
            if kind == "abort_once":
                Path(argument).touch()
            os._exit(70)


class VectorsSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.embed]`."""


class Vectors:
    """One vector per frame, made of its bytes."""

    name: ClassVar[str] = "embed"
    lane: ClassVar[Lane] = "gpu"
    requires: ClassVar[frozenset[str]] = frozenset({"original"})
    provides: ClassVar[frozenset[str]] = frozenset({"embeddings"})
    Settings: ClassVar[type[VectorsSettings]] = VectorsSettings
    model = "bytes"
    revision = "1"

    def __init__(self, settings: VectorsSettings | None = None) -> None: ...

    def open(self, device: str) -> None: ...

    def close(self) -> None: ...

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        for frame in frames:
            content = frame.original or b""
            numbers = np.frombuffer(content[-DIMENSION:], np.uint8).astype("<f4") + 1
            if comment(content).startswith("nan"):
                numbers[0] = np.nan
            if comment(content).startswith("zero"):
                numbers[:] = 0
            else:
                numbers /= np.linalg.norm(numbers)
            vector = Embedding(name="semantic", model=self.model, dimension=DIMENSION, vector=numbers.tobytes())
            frame.embeddings = (vector,)
        return [None] * len(frames)


class CountSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.count]`."""


class Count:
    """A stage with memory: writes how many frames of the feed it has seen, this one included."""

    name: ClassVar[str] = "count"
    lane: ClassVar[Lane] = "cpu"
    requires: ClassVar[frozenset[str]] = frozenset({"labels"})
    provides: ClassVar[frozenset[str]] = frozenset({"captions"})
    Settings: ClassVar[type[CountSettings]] = CountSettings

    def __init__(self, settings: CountSettings | None = None) -> None: ...

    def open(self, device: str) -> None: ...

    def close(self) -> None: ...

    def initial_state(self) -> list[str]:
        return []

    def process(self, frames: Sequence[Frame], states: Mapping[str, Any]) -> Verdicts:
        for frame in frames:
            seen = states[frame.key] if frame.kind == "frame" else []
            seen.append(frame.id)
            frame.captions = (Caption(text=str(len(seen)), model="count"),)
        return [None] * len(frames)


class ShadeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[stages.shade]`."""


class Shade:
    """Looks at pixels: answers how bright the picture is."""

    name: ClassVar[str] = "shade"
    lane: ClassVar[Lane] = "gpu"
    requires: ClassVar[frozenset[str]] = frozenset({"pixels"})
    provides: ClassVar[frozenset[str]] = frozenset({"answers"})
    Settings: ClassVar[type[ShadeSettings]] = ShadeSettings

    def __init__(self, settings: ShadeSettings | None = None) -> None: ...

    def open(self, device: str) -> None: ...

    def close(self) -> None: ...

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        for frame in frames:
            assert frame.pixels is not None
            frame.answers = (Answer(question="how bright?", text=f"{frame.pixels.mean():.6f}"),)
        return [None] * len(frames)
