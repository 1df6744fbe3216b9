"""How much of a large folder is looked at to know its size."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from stores.blobs import blob_uri, sha256_hex
from stores.folder import BlobFolder
from streams.clock import ManualClock
from streams.lifecycle.stored_bytes import FULL_LISTING_SECONDS, StoredBytes

FEEDS, DAYS = ("gate", "lobby"), 120


async def test_a_year_is_listed_day_by_day_once_and_then_the_last_days_alone(tmp_path: Path) -> None:
    """Most days have no picture left; their folders may be there still."""
    clock, scanned = ManualClock(datetime(2026, 11, 1, tzinfo=UTC).timestamp()), list[str]()
    blobs = BlobFolder(tmp_path, wall=clock.now)
    for feed in FEEDS:
        for number in range(DAYS):
            (tmp_path / "default" / feed / f"{datetime(2026, 7, 1, tzinfo=UTC) + timedelta(number):%Y-%m-%d}").mkdir(
                parents=True
            )
        today = datetime.fromtimestamp(clock.now(), UTC).date()
        await blobs.put("default", blob_uri("default", feed, today, sha256_hex(b"picture")), b"picture")

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.scandir" and str(arguments[0]).startswith(str(tmp_path)):
            scanned.append(str(arguments[0]))

    sys.addaudithook(note)
    stored, folders_above = StoredBytes(blobs, "default", clock), 1 + len(FEEDS)
    assert await stored.refresh()
    assert len(scanned) == folders_above + len(FEEDS) * (DAYS + 1)
    total = stored.total
    scanned.clear()
    clock.advance(FULL_LISTING_SECONDS / 2)
    assert await stored.refresh()
    assert len(scanned) == folders_above + len(FEEDS) * 2
    assert stored.total == total > 0
    await blobs.close()
