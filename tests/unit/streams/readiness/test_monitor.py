"""What Prometheus reads: series that are there from the start, in the format that it asks for."""

from __future__ import annotations

import asyncio
import shutil
import socket
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families as text_families

from streams.clock import ManualClock
from streams.metrics import AnalyticsMetrics, Metrics, ServerMetrics
from streams.readiness.health import Health
from streams.readiness.monitor import Monitor

UNKNOWN_AT_START = {
    "sightline_lag_records",
    "sightline_recent_vectors_mean_cosine",
    "sightline_storage_bytes",
    "sightline_storage_limit_bytes",
}
"""0 would be false before they are measured."""
EMPTY_AT_START = {"sightline_http_requests", "sightline_http_request_seconds"}
"""Their labels are the routes that were asked for."""
EMPTY_WHEN_ALL_IS_WELL = {
    "sightline_left_over_records",
    "sightline_absent_group_records",
    "sightline_unfinished_retention_ratio",
}
"""Their labels are the topics and groups that need a person."""


def filled_registry() -> CollectorRegistry:
    """Every metric of every process, but once."""
    registry, analytics = CollectorRegistry(), CollectorRegistry()
    Metrics(registry).declare(
        topic_in="frames.raw", topics_out=["frames.enriched"], stages=["decode"], collections=["frames-tiny"]
    )
    ServerMetrics(registry)
    registry.register(AnalyticsMetrics(analytics).observed)
    return registry


@pytest.fixture
async def url() -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    async with Monitor(Health(ManualClock(), 60), filled_registry(), listener) as monitor:
        yield monitor.url


async def scraped(url: str, accept: str) -> tuple[str, str]:
    async with aiohttp.ClientSession(headers={"Accept": accept}) as session, session.get(f"{url}/metrics") as response:
        assert len(response.headers.getall("Content-Type")) == 1
        return response.headers["Content-Type"], await response.text()


async def test_every_metric_is_there_from_the_start(url: str) -> None:
    families = {family.name: family for family in text_families((await scraped(url, "*/*"))[1])}
    empty = {name for name, family in families.items() if not family.samples}
    assert empty == UNKNOWN_AT_START | EMPTY_AT_START | EMPTY_WHEN_ALL_IS_WELL
    assert {"process_resident_memory_bytes", "process_cpu_seconds"} <= set(families)
    (build,) = families["sightline_build_info"].samples
    assert (build.value, set(build.labels)) == (1, {"version"})
    waits = {sample.labels["what"]: sample.value for sample in families["sightline_waiting"].samples}
    assert waits == dict.fromkeys(("broker", "index", "blobs", "stage decode", "lost records", "topics"), 0)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
    ],
)
async def test_the_format_is_the_one_asked_for(url: str, accept: str, content_type: str) -> None:
    answered, text = await scraped(url, accept)
    assert answered.startswith(content_type)
    families = list((openmetrics_families if "openmetrics" in accept else text_families)(text))
    assert "sightline_build_info" in {sample.name for family in families for sample in family.samples}
    assert text.endswith("# EOF\n") == ("openmetrics" in accept)


async def test_promtool_finds_nothing_to_say(url: str) -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool is not installed: it is in Debian's package prometheus")
    _, text = await scraped(url, "")
    ours = "\n".join(line for line in text.splitlines() if "sightline_" in line)
    process = await asyncio.create_subprocess_exec(promtool, "check", "metrics", stdin=PIPE, stderr=PIPE)
    _, found = await process.communicate(f"{ours}\n".encode())
    assert (process.returncode, found) == (0, b"")
