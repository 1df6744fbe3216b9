"""One process or three give the same enriched events, with the real models."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas.events import FrameEvent
from sightline.config import FUSED, Config
from streams.worker.settings import WorkerSettings
from tests.whole.rig import CLIP, OTHER_CLIP, STILLS, deployment, enriched, feed, findings, work

LONG = os.environ.get("LONG") == "1"
pytestmark = [pytest.mark.whole, pytest.mark.timeout(3600 if LONG else 900)]

SPLIT = (("decode", "gate", "detect", "track"), ("decode", "caption"), ("decode", "embed"))
FEEDS = {"left": (CLIP, 40, 2.5), "stills": (STILLS, 8, 2.5)}
"""Source, frames, frames a second."""
if LONG:
    FEEDS = {"left": (CLIP, 146, 5.0), "right": (OTHER_CLIP, 146, 5.0), "stills": (STILLS, 8, 2.5)}
FRAMES = sum(frames for _, frames, _ in FEEDS.values())
TOLERANCE = 1e-4


async def events(
    folder: Path, segments: tuple[tuple[str, ...], ...], batch_frames: int, transport: str = ""
) -> dict[str, FrameEvent]:
    """Enriched events of the same pictures. An empty `transport` is the embedded log. Batch sizes differ on purpose."""
    worker = WorkerSettings(batch_frames=batch_frames, publish_embeddings=True)
    config = Config(data=str(folder), segments=segments, worker=worker, transport=transport)
    async with deployment(config) as parts:
        for name, (source, frames, fps) in FEEDS.items():
            assert await feed(parts, source, name, frames, fps=fps) == frames
        await work(parts)
        result = await findings(parts)
        assert result.kept, result
        assert (result.enriched, result.dead) == (FRAMES, 0)
        return await enriched(parts)


def comparable(event: FrameEvent) -> dict[str, Any]:
    """The event without what a deployment may change: times, and which worker ran a stage when."""
    fields: dict[str, Any] = msgspec.to_builtins(event, builtin_types=(bytes,))
    stages = sorted(entry["stage"] for entry in fields.pop("trace"))
    return {**fields, "stages": stages, "ingested": None, "published": None}


def differences(left: Any, right: Any, path: str = "") -> list[str]:
    """A line for each difference; floats and vectors may differ by TOLERANCE."""
    if isinstance(left, dict) and isinstance(right, dict) and left.keys() == right.keys():
        return [line for key in left for line in differences(left[key], right[key], f"{path}.{key}")]
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)) and len(left) == len(right):
        pairs = enumerate(zip(left, right, strict=True))
        return [line for index, pair in pairs for line in differences(*pair, f"{path}[{index}]")]
    if path.endswith(".vector"):
        return [] if near(left, right) else [f"{path}: not within {TOLERANCE}"]
    if isinstance(left, float) and isinstance(right, float):
        return [] if math.isclose(left, right, rel_tol=TOLERANCE, abs_tol=TOLERANCE) else [f"{path}: {left} {right}"]
    return [] if left == right else [f"{path}: {left!r} {right!r}"]


def different(left: dict[str, FrameEvent], right: dict[str, FrameEvent]) -> str:
    """A line for each difference in frames and their events; empty if there is none."""
    lines = [f"{frame}: only one has it" for frame in left.keys() ^ right.keys()]
    for frame in left.keys() & right.keys():
        lines += differences(comparable(left[frame]), comparable(right[frame]), frame)
    return "\n".join(lines)


def near(left: bytes, right: bytes) -> bool:
    vectors = np.frombuffer(left, "<f4"), np.frombuffer(right, "<f4")
    return vectors[0].size == vectors[1].size > 0 and bool(np.abs(vectors[0] - vectors[1]).max() <= TOLERANCE)


async def test_a_split_plan_gives_the_same_events(tmp_path: Path) -> None:
    fused = await events(tmp_path / "fused", FUSED, 16)
    split = await events(tmp_path / "split", SPLIT, 5)
    assert not different(fused, split)
    assert {event.skipped for event in fused.values()} != {()}, "the gate skips stages of some frames"
    seen = [event for event in fused.values() if event.embeddings and event.captions and event.detections]
    assert len(seen) >= FEEDS["stills"][1], "and not of most"
    assert any(detection.track for event in seen for detection in event.detections)
