"""A worker's settings: every contradiction at once."""

from __future__ import annotations

import msgspec
import pytest

from streams.worker.settings import WorkerSettings


def test_defaults_hold_together() -> None:
    assert msgspec.convert({}, WorkerSettings) == WorkerSettings()


def test_contradictions_are_told_together() -> None:
    with pytest.raises(ValueError, match="batch_frames") as wrong:
        WorkerSettings(batch_frames=600, backoff_seconds=60, drain_seconds=0.1)
    assert str(wrong.value).count(";") == 2


@pytest.mark.parametrize("given", [{"batch_frames": 0}, {"commit_seconds": 0}, {"no_such": 1}])
def test_impossible_values_are_refused(given: dict[str, int]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, WorkerSettings)
