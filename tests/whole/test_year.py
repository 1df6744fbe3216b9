"""A month of `bench.year` on a small disk: the bounds that hold for a year hold for it."""

from __future__ import annotations

from pathlib import Path

from bench.year import Scale, broken, figures, simulate

MONTH = Scale(
    days=30,
    parts=1,
    frames=3,
    stills=10,
    kept_hours=96.0,
    log_bytes=3 << 19,
    picture_bytes=3 << 20,
    index_bytes=4 << 20,
)


async def test_a_month_on_a_small_disk(tmp_path: Path) -> None:
    year = await simulate(tmp_path, MONTH)
    measured = figures(year)
    assert not broken(measured), measured
    assert len(year.ledger.accepted) > 30 * 4 * 3
    assert len(year.ledger.deleted) > 20
    assert year.ledger.picture_bytes > 2 * MONTH.picture_bytes, "the budget has to be full"
