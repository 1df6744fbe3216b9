"""Every branch of the error policy, on the embedded log and index, with frames that say what befalls them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.faults.rig import Deployment, deployed, fated, identity, running, until
from tests.faults.stages import Fate, Vectors


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Deployment]:
    async with deployed(tmp_path) as deployment:
        yield deployment


async def test_frames_become_events_and_points(here: Deployment) -> None:
    sent = [fated("ok", number=number) for number in range(50)]
    await here.publish(sent)
    async with running(here.worker([Fate(), Vectors()])) as task:
        await until(here.drained, task)
    found = await here.findings()
    assert found.kept, found
    assert found.enriched == 50
    events = await here.enriched()
    assert events.keys() == {identity(record) for record in sent}
    event = next(iter(events.values()))
    assert [entry.stage for entry in event.trace] == ["fate", "embed"]
    assert event.image.uri
    assert event.published is not None
