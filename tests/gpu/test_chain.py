"""The whole chain in this process, its models on the device and in the precision of a GPU, beside fp32 on a CPU."""

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
        found = await findings(parts)
        assert found.kept, found
        assert (found.enriched, found.dead) == (FRAMES, 0)
        return await enriched(parts)


def vectors(event: FrameEvent) -> np.ndarray:
    """[2, d], semantic and visual."""
    return np.stack([np.frombuffer(one.vector, "<f4") for one in event.embeddings])


async def test_the_chain_says_on_the_device_what_it_says_on_a_cpu(tmp_path: Path, device: str) -> None:
    here = await events(tmp_path / "here", device, "bf16")
    there = await events(tmp_path / "there", "cpu", "fp32")
    assert here.keys() == there.keys()
    same_captions = 0
    for frame, event in here.items():
        other = there[frame]
        ours, theirs = (sorted(one.detections, key=lambda found: (found.label, found.box)) for one in (event, other))
        assert [found.label for found in ours] == [found.label for found in theirs]
        for one, wanted in zip(ours, theirs, strict=True):
            assert np.abs(np.subtract(one.box, wanted.box)).max() < 3.0
        assert (vectors(event) * vectors(other)).sum(axis=1).min() > 0.99
        same_captions += [one.text for one in event.captions] == [one.text for one in other.captions]
    assert same_captions >= FRAMES - 1
