"""A log in a file of its own, on clocks that the test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.sqlite_logs import Clock, Logs


@pytest.fixture
async def logs(tmp_path: Path) -> AsyncIterator[Logs]:
    logs = Logs(tmp_path / "log.sqlite", Clock(1_000.0), Clock(1_800_000_000.0))
    yield logs
    await logs.close()
