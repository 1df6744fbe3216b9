"""Twelve days of `bench.year` on a small disk: the bounds that hold for a year hold for it."""

from __future__ import annotations

from pathlib import Path

from bench.simulation.deployment import Limits
from bench.year import CAMERAS, Scale, broken, figures, simulate

LIMITS = Limits(log_bytes=4 << 20, picture_bytes=3 << 20, index_bytes=4 << 20, kept_hours=72.0, hourly_feed=CAMERAS[0])
DAYS = 12
SCALE = Scale(days=DAYS, frames=5, stills=12, look_days=6, limits=LIMITS)


async def test_twelve_days_on_a_small_disk(tmp_path: Path) -> None:
    year = await simulate(tmp_path, SCALE)
    measured = figures(year)
    assert not broken(measured), measured
    ledger = year.deployment.ledger
    assert len(ledger.accepted) > DAYS * 4 * 5
    assert len(ledger.deleted) == DAYS
    assert ledger.picture_bytes > 2 * LIMITS.picture_bytes, "the limit has to be reached"
