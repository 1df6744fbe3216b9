"""`sightline check` on a healthy deployment, and on one with an unfinished frame and a leftover point."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import UUID

import numpy as np

from sightline.config import Config
from sightline.wiring.build_worker import collections, worker_settings
from sightline.wiring.parts import opened
from stores.index import Point
from tests.support.deployment import fated
from tests.support.edge_folder import edge_folder
from tests.unit.sightline.conftest import Typed

DECODE_ONLY = '--set=segments=[["decode"]]'
LEFTOVER = str(UUID(int=7))


def test_a_healthy_deployment(typed: Typed, pictures: Path) -> None:
    assert typed("ingest", str(pictures), DECODE_ONLY).exit_code == 0
    waiting = typed("check", DECODE_ONLY)
    assert waiting.exit_code == 1
    assert "6 records not processed yet" in waiting.stdout
    assert "accepted, but neither enriched nor dead-lettered" in waiting.stdout
    assert typed("work", "--until-idle", DECODE_ONLY).exit_code == 0
    result = typed("check", DECODE_ONLY)
    assert result.exit_code == 0
    assert "6 frames accepted: 5 enriched, 1 dead-lettered, 0 deleted" in result.stdout


async def damage(config: Config) -> None:
    """Accept a frame that no worker processes, and index a point of a frame that was never accepted."""
    async with opened(config) as parts:
        await parts.transport.publish([fated("ok")])
        spec = collections(config, worker_settings(config))["frames"]
        await parts.index.ensure(spec, "frames")
        vectors = {name: np.ones(size, np.float32) for name, size in spec.vectors.items()}
        await parts.index.upsert(spec.name, [Point(id=LEFTOVER, vectors=vectors, payload={"frame": LEFTOVER})])


def test_an_unfinished_frame_and_a_leftover_point(typed: Typed, tmp_path: Path) -> None:
    with edge_folder(tmp_path / "data" / "index"):
        asyncio.run(damage(Config(data=str(tmp_path / "data"))))
        result = typed("check", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (found["accepted"], len(found["missing"]), found["orphans"]) == (1, 1, [LEFTOVER])
    assert not found["kept"]
