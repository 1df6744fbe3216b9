"""The pipeline is not its deployment: with the real models, one process or three give the same enriched events."""

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
    """Of the same pictures; batches differ on purpose. `transport` is the embedded log where it is empty."""
    worker = WorkerSettings(batch_frames=batch_frames, publish_embeddings=True)
    config = Config(data=str(folder), segments=segments, worker=worker, transport=transport)
    async with deployment(config) as parts:
        for name, (source, frames, fps) in FEEDS.items():
            assert await feed(parts, source, name, frames, fps=fps) == frames
        await work(parts)
        found = await findings(parts)
        assert found.kept, found
        assert (found.enriched, found.dead) == (FRAMES, 0)
        return await enriched(parts)


def comparable(event: FrameEvent) -> dict[str, Any]:
    """Without what a deployment may change: times, who did what, and the day in the blobs' paths."""
    fields: dict[str, Any] = msgspec.to_builtins(event, builtin_types=(bytes,))
    stages = sorted(entry["stage"] for entry in fields.pop("trace"))
    return {**fields, "stages": stages, "ingested": None, "published": None}


def differences(one: Any, other: Any, path: str = "") -> list[str]:
    """Where two values differ; numbers may by a little, vectors' too, nothing else."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [line for key in one for line in differences(one[key], other[key], f"{path}.{key}")]
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [line for place, (left, right) in pairs for line in differences(left, right, f"{path}[{place}]")]
    if path.endswith(".vector"):
        return [] if near(one, other) else [f"{path}: not within {TOLERANCE}"]
    if isinstance(one, float) and isinstance(other, float):
        return [] if math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE) else [f"{path}: {one} {other}"]
    return [] if one == other else [f"{path}: {one!r} {other!r}"]


def different(one: dict[str, FrameEvent], other: dict[str, FrameEvent]) -> str:
    """A line for everything that differs in frames and their events; empty where nothing does."""
    lines = [f"{frame}: only one has it" for frame in one.keys() ^ other.keys()]
    for frame in one.keys() & other.keys():
        lines += differences(comparable(one[frame]), comparable(other[frame]), frame)
    return "\n".join(lines)


def near(one: bytes, other: bytes) -> bool:
    vectors = np.frombuffer(one, "<f4"), np.frombuffer(other, "<f4")
    return vectors[0].size == vectors[1].size > 0 and bool(np.abs(vectors[0] - vectors[1]).max() <= TOLERANCE)


async def test_a_split_plan_gives_the_same_events(tmp_path: Path) -> None:
    fused = await events(tmp_path / "fused", FUSED, 16)
    split = await events(tmp_path / "split", SPLIT, 5)
    assert not different(fused, split)
    assert {event.skipped for event in fused.values()} != {()}, "the gate left something out"
    seen = [event for event in fused.values() if event.embeddings and event.captions and event.detections]
    assert len(seen) >= FEEDS["stills"][1], "and most is not left out"
    assert any(found.track for event in seen for found in event.detections)
