"""Times of capture that no clock had do not ruin the latencies."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from streams.transport import NewRecord
from tests.support.deployment import Deployment, deployed, fated, running, until
from tests.support.fault_stages import Fate, Vectors

TIMES = (
    b"0001-01-01T00:00:00Z",
    b"1970-01-01T00:00:00Z",
    b"9998-12-31T23:59:59Z",
    b"0001-01-01T00:00:00+14:00",
    b"99999-01-01T00:00:00Z",
)


def captured(number: int, time: bytes) -> NewRecord:
    record = fated("ok", kind="frame", number=number)
    return msgspec.structs.replace(record, headers={**record.headers, "ce_time": time})


@pytest.mark.parametrize("kind", ["latency", "live_latency"])
async def test_a_time_of_capture_out_of_range_is_not_observed(tmp_path: Path, index_folder: Path, kind: str) -> None:
    async with deployed(tmp_path, index_folder=index_folder) as here:
        await here.publish([captured(number, time) for number, time in enumerate(TIMES)])
        async with running(here.worker([Fate(), Vectors()])) as task:
            await until(here.drained, task)
        assert len(await here.enriched()) == 3
        assert {letter.reason for letter in (await here.letters()).values()} == {"wrong_header"}
        assert 0.0 <= observed(here, kind, "sum") < 600.0
        assert observed(here, kind, "count") == (3.0 if kind == "latency" else 0.0)


def observed(here: Deployment, kind: str, what: str) -> float:
    value = here.metrics.registry.get_sample_value(f"sightline_{kind}_seconds_{what}")
    assert value is not None
    return value
