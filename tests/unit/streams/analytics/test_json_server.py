"""The counts over HTTP: whatever a time looks like, it is read or refused."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest

from streams.analytics.json_server import Counts, serve_counts
from streams.analytics.ledger import Ledger
from streams.analytics.ledger_view import LedgerView
from streams.analytics.measured import measured
from streams.analytics.settings import AnalyticsSettings
from tests.support.observed import observed


@pytest.fixture
async def url() -> AsyncIterator[str]:
    """One picture at BEGAN, which is 2026-11-21T08:00:00Z."""
    counts, listener = Counts(measured()), socket.create_server(("127.0.0.1", 0))
    ledger = Ledger({}, AnalyticsSettings(window_seconds=10, grace_seconds=20))
    ledger.observe(observed(0, 0), "ce-0")
    counts.view = LedgerView(ledger)
    async with serve_counts(counts, listener) as served:
        yield served


async def asked(url: str, query: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/windows?{query}") as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize("since", ["2026-11-21T09:00:00+01:00", "2026-11-21T09:00:00%2B01:00", "2026-11-21T07:59:00Z"])
async def test_a_time_may_have_any_offset_encoded_or_not(url: str, since: str) -> None:
    status, text = await asked(url, f"since={since}")
    assert (status, text.count('"frames"')) == (200, 1)
    assert (await asked(url, "since=2026-11-21T09:01:00%2B01:00"))[1] == "[]"


@pytest.mark.parametrize(
    "since", ["0001-01-01T00:00:00", "0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-12:00", "soon", "9" * 5000]
)
async def test_times_at_the_ends_of_the_calendar_are_read_or_refused(url: str, since: str) -> None:
    assert (await asked(url, f"since={since}"))[0] in (200, 400)
