"""Analytics on the embedded log: counts are exact after a kill between any two steps."""

from __future__ import annotations

import asyncio
from pathlib import Path

from schemas.topics import OBSERVED
from streams.analytics.embedded import FileTable, count
from streams.analytics.ledger import Ledger
from streams.analytics.ledger_view import LedgerView
from streams.analytics.measured import measured
from streams.analytics.settings import AnalyticsSettings
from streams.sqlite.transport import SqliteTransport
from streams.transport import TopicSpec
from tests.support.observed import observed, record

SETTINGS = AnalyticsSettings()
COUNTED = "sightline_analytics_records_total"


async def run_until(folder: Path, frames: int) -> None:
    """Count until `frames` are counted, then end at any step."""
    transport = SqliteTransport(folder / "log.sqlite")
    await transport.open()
    table = FileTable(folder / "analytics.sqlite")
    counting = asyncio.create_task(count(transport, Ledger(table, SETTINGS), table, instruments := measured()))
    async with asyncio.timeout(60):
        while sum(window["frames"] for window in LedgerView(Ledger(table, SETTINGS)).windows()) < frames:
            await asyncio.wait([counting], timeout=0.02)
    counting.cancel()
    await asyncio.gather(counting, return_exceptions=True)
    assert not instruments.health.unready_reasons()
    assert (instruments.metrics.registry.get_sample_value(COUNTED, {"outcome": "counted"}) or 0) >= 200
    table.close()
    await transport.close()


async def test_a_restart_continues_and_repeated_records_count_once(tmp_path: Path) -> None:
    transport = SqliteTransport(tmp_path / "log.sqlite")
    await transport.open()
    await transport.create([TopicSpec(OBSERVED, 2)])
    events = [record(observed(number, number / 10, feed=("a", "b")[number % 2])) for number in range(400)]
    await transport.publish(events[:200])
    await run_until(tmp_path, 200)
    await transport.publish([*events[150:], *events[300:]])
    await run_until(tmp_path, 400)
    await transport.close()
    table = FileTable(tmp_path / "analytics.sqlite")
    windows = LedgerView(Ledger(table, SETTINGS)).windows()
    table.close()
    assert sum(window["frames"] for window in windows) == 400
    assert {window["feed"] for window in windows} == {"a", "b"}
