"""The whole chain in one process, with models on the device in a GPU's precision, compared with fp32 on a CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from schemas.events import FrameEvent
from sightline.config import FUSED, Config
from streams.worker.settings import WorkerSettings
from tests.whole.rig import STILLS, deployment, enriched, feed, findings, work

pytestmark = [pytest.mark.whole, pytest.mark.timeout(600)]

STAGES = ("detect", "caption", "embed")
FRAMES = 8


async def events(folder: Path, device: str, precision: str) -> dict[str, FrameEvent]:
    config = Config(
        data=str(folder),
        segments=FUSED,
        worker=WorkerSettings(batch_frames=4, device=device, publish_embeddings=True),
        stages={stage: {"precision": precision} for stage in STAGES},
    )
    async with deployment(config) as parts:
        assert await feed(parts, STILLS, "stills", FRAMES) == FRAMES
        await work(parts)
        checked = await findings(parts)
        assert checked.kept, checked
        assert (checked.enriched, checked.dead) == (FRAMES, 0)
        return await enriched(parts)


def vectors(event: FrameEvent) -> np.ndarray:
    """[2, d], semantic and visual."""
    return np.stack([np.frombuffer(embedding.vector, "<f4") for embedding in event.embeddings])


async def test_the_chain_gives_the_same_on_the_device_and_on_a_cpu(tmp_path: Path, device: str) -> None:
    here = await events(tmp_path / "here", device, "bf16")
    there = await events(tmp_path / "there", "cpu", "fp32")
    assert here.keys() == there.keys()
    same_captions = 0
    for frame, event in here.items():
        other = there[frame]
        ours, theirs = (sorted(each.detections, key=lambda found: (found.label, found.box)) for each in (event, other))
        assert [detection.label for detection in ours] == [detection.label for detection in theirs]
        for detection, expected in zip(ours, theirs, strict=True):
            assert np.abs(np.subtract(detection.box, expected.box)).max() < 3.0
        assert (vectors(event) * vectors(other)).sum(axis=1).min() > 0.99
        same_captions += [caption.text for caption in event.captions] == [caption.text for caption in other.captions]
    assert same_captions >= FRAMES - 1
