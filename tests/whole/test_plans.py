"""The pipeline is not its deployment: with the real models, one process or three give the same enriched events."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from schemas.events import FrameEvent
from sightline.config import FUSED, Config
from streams.settings import WorkerSettings
from tests.whole.rig import CLIP, STILLS, deployment, enriched, feed, findings, work

pytestmark = [pytest.mark.whole, pytest.mark.timeout(900)]

SPLIT = (("decode", "gate", "detect", "track"), ("decode", "caption"), ("decode", "embed"))
FRAMES, PICTURES = 40, 8
TOLERANCE = 1e-4


async def events(folder: Path, segments: tuple[tuple[str, ...], ...], batch_frames: int) -> dict[str, FrameEvent]:
    """Of the same pictures; batches differ on purpose."""
    worker = WorkerSettings(batch_frames=batch_frames, publish_embeddings=True)
    async with deployment(Config(data=str(folder), segments=segments, worker=worker)) as parts:
        assert await feed(parts, CLIP, "left", FRAMES) == FRAMES
        assert await feed(parts, STILLS, "stills", PICTURES) == PICTURES
        await work(parts)
        found = await findings(parts)
        assert found.kept, found
        assert (found.enriched, found.dead) == (FRAMES + PICTURES, 0)
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


def near(one: bytes, other: bytes) -> bool:
    vectors = np.frombuffer(one, "<f4"), np.frombuffer(other, "<f4")
    return vectors[0].size == vectors[1].size > 0 and bool(np.abs(vectors[0] - vectors[1]).max() <= TOLERANCE)


async def test_a_split_plan_gives_the_same_events(tmp_path: Path) -> None:
    fused = await events(tmp_path / "fused", FUSED, 16)
    split = await events(tmp_path / "split", SPLIT, 5)
    assert fused.keys() == split.keys()
    lines = [line for frame in fused for line in differences(comparable(fused[frame]), comparable(split[frame]), frame)]
    assert not lines, "\n".join(lines)
    assert {event.skipped for event in fused.values()} != {()}, "the gate left something out"
    seen = [event for event in fused.values() if event.embeddings and event.captions and event.detections]
    assert len(seen) >= PICTURES, "and most is not left out"
    assert any(found.track for event in seen for found in event.detections)
