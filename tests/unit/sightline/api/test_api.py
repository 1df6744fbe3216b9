"""The HTTP API over a real log, index and blobs; `tests/browser` tests the page."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import httpx
import numpy as np
import pytest
import pytest_asyncio
import structlog
from prometheus_client import CollectorRegistry, Counter

from schemas.events import FrameEvent
from search.models import SearchModels
from search.retrieve import Searcher, SearcherSettings
from sightline.api.app import create_app
from sightline.api.live import CACHED_EVENTS, Live
from sightline.api.services import ApiSettings, Services
from streams.clock import ManualClock
from streams.lifecycle.event_lookup import find_event, find_payload
from streams.readiness.health import Health
from streams.sqlite.transport import SqliteTransport
from tests.browser.world import NAME, TENANT, Shown, World, opened, shown
from tests.support.deployment import until
from tests.unit.search.bags import Bags
from tinyworld.samples import staged

pytestmark = pytest.mark.asyncio(loop_scope="module")
GATED = {"gate:": "gated"}
KINDS = ((("red", "circle"),), (("blue", "square"), ("green", "star")), (("yellow", "ring"),))


class Served(NamedTuple):
    client: httpx.AsyncClient
    world: World
    events: list[FrameEvent]
    gated: FrameEvent
    pictures: list[Shown]

    async def get(self, path: str) -> Any:
        return await self.client.get(path)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """Three pictures and a gated one. Tests must not change it."""
    rng = np.random.default_rng(5)
    pictures, bags = shown(*(staged(rng, kinds, "photo") for kinds in KINDS)), Bags()
    for picture in pictures:
        bags.show(picture.rendered.image, picture.caption)
    world = await opened(tmp_path_factory.mktemp("api"), bags, bags)
    events = await world.add(pictures, feed="lobby")
    (gated,) = await world.add(shown(staged(rng, KINDS[0], "cartoon"), seed=9), feed="yard", gated=True)
    registry = CollectorRegistry()
    Counter("sightline_tested", "Whether the registry is shown", registry=registry).inc()
    searcher = Searcher(world.index, SearchModels(bags, bags), SearcherSettings(collection=NAME))
    settings = ApiSettings(model_set="hand-1", collection=NAME, poll_seconds=0.02, skip_states=GATED)
    app: Any = create_app(Services(world.transport, world.index, world.blobs, searcher, settings, registry))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000") as client:
        yield Served(client, world, events, gated, pictures)
    searcher.close()
    await world.close()


async def test_every_response_has_the_security_headers(served: Served) -> None:
    for path in ("/", "/app.js", "/api/status", "/api/search", "/nothing"):
        answer = await served.get(path)
        assert "default-src 'none'" in answer.headers["content-security-policy"], path
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_foreign_host_name_is_refused(served: Served) -> None:
    answer = await served.client.get("/api/status", headers={"host": "evil.example"})
    assert answer.status_code == 421
    assert answer.json()["error"]["code"] == "wrong_host"


async def test_only_the_pages_own_files_are_served(served: Served) -> None:
    for path in ("/__init__.py", "/../config.py", "/%2e%2e/config.py", "/page/app.js"):
        assert (await served.get(path)).status_code == 404, path
    first = await served.get("/app.js")
    again = await served.client.get("/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (first.status_code, again.status_code) == (200, 304)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/search", 400, "bad_query"),
        ("/api/search?q=x&limit=1000", 400, "bad_query"),
        ("/api/search?q=x&limit=many", 400, "bad_request"),
        ("/api/search?q=x&since=soon", 400, "bad_query"),
        ("/api/search?like=00000000-0000-5000-8000-000000000000", 404, "not_found"),
        ("/api/frames/00000000-0000-5000-8000-000000000000", 404, "not_found"),
        ("/api/frames/none", 404, "not_found"),
    ],
)
async def test_errors_are_json_with_code_and_message(served: Served, path: str, status: int, code: str) -> None:
    answer = await served.get(path)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["message"]


async def test_uploads_are_bounded_and_checked_before_decoding(served: Served) -> None:
    for body, status in ((b"", 400), (b"no picture", 422), (b"x" * (17 << 20), 413)):
        answer = await served.client.post("/api/search/image", content=body)
        assert answer.status_code == status
    bomb = cv2.imencode(".png", np.zeros((8200, 8200), np.uint8))[1].tobytes()
    answer = await served.client.post("/api/search/image", content=bomb)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "too_many_pixels")


async def test_search_with_filters_and_negatives(served: Served) -> None:
    result = (await served.get("/api/search?q=a+photo&not=square&feed=lobby&limit=5")).json()
    assert result["negatives"] == ["square"]
    assert {hit["id"] for hit in result["hits"]} == {served.events[0].id, served.events[2].id}
    assert result["hits"][0]["detections"][0]["box"]
    assert not result["calibrated"]


async def test_a_frame_in_all_its_forms(served: Served) -> None:
    event, picture = served.events[1], served.pictures[1]
    answer = await served.get(f"/api/frames/{event.id}")
    assert answer.json()["captions"][0]["text"] == picture.caption
    assert "embeddings" not in answer.json()
    image = await served.get(f"/api/frames/{event.id}/image")
    assert (image.content, image.headers["content-type"]) == (picture.jpeg, "image/jpeg")
    assert (await served.get(f"/api/frames/{event.id}/thumbnail")).content == picture.jpeg
    drawn = await served.get(f"/api/frames/{event.id}/annotated")
    pixels = cv2.imdecode(np.frombuffer(drawn.content, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None
    assert pixels.shape == picture.rendered.image.shape
    assert np.abs(pixels.astype(int) - picture.rendered.image).max() > 100


async def test_events_are_found_in_the_log_alone(served: Served) -> None:
    transport = served.world.transport
    for event in (*served.events, served.gated):
        payload = await find_payload(served.world.index, NAME, event.id, TENANT)
        assert (payload is None) == (event is served.gated)
        logged = await find_event(transport, event.id, payload, TENANT)
        assert logged is not None
        assert logged.id == event.id
        assert await find_event(transport, event.id, payload, "others") is None


@pytest.mark.parametrize(("quiet_seconds", "warnings"), [(60.0, 0), (0.0, 1)])
async def test_a_log_that_opens_while_the_page_is_served_is_no_warning(
    tmp_path: Path, quiet_seconds: float, warnings: int
) -> None:
    unopened = SqliteTransport(tmp_path / "log.sqlite")
    live = Live(unopened, 0.01, GATED, quiet_seconds=quiet_seconds)
    with structlog.testing.capture_logs() as logged:
        running = asyncio.create_task(live.run())
        await until(lambda: not live.status()["log"])
        await asyncio.sleep(0.05)
        running.cancel()
    assert [line["event"] for line in logged] == ["log unavailable"] * warnings


async def test_status_counts_the_log(served: Served) -> None:
    live = Live(served.world.transport, 0.01, GATED)
    while await live.step():
        pass
    status = live.status()
    assert status["counts"] == {"in": 4, "enriched": 4, "gated": 1, "dead": 0, "shed": 0}
    assert {name: feed["frames"] for name, feed in status["feeds"].items()} == {"lobby": 3, "yard": 1}
    answer = await served.get("/api/status")
    assert (answer.json()["model_set"], answer.json()["tenant"]) == ("hand-1", "default")


async def test_a_slow_listener_loses_the_oldest_and_never_blocks(served: Served) -> None:
    live = Live(served.world.transport, 0.01, GATED)
    listener = live.listen()
    assert (await anext(listener)).name == "status"
    await live.step()
    shown_first = [json.loads((await anext(listener)).content)["id"] for _ in range(4)]
    assert set(shown_first) == {event.id for event in (*served.events, served.gated)}
    assert live.event(served.events[0].id) is not None
    assert CACHED_EVENTS > 4
    live.close()
    assert [message async for message in listener] == []


async def test_metrics_are_in_the_format_that_is_asked_for_and_count_answers_by_route(served: Served) -> None:
    for path in (f"/api/frames/{served.events[0].id}", f"/api/frames/{served.events[1].id}", "/made-up/by/a/client"):
        await served.get(path)
    answer = await served.get("/metrics")
    assert answer.headers.get_list("content-type") == ["text/plain; version=0.0.4; charset=utf-8"]
    assert "sightline_tested_total 1.0" in answer.text
    (count,) = re.findall(
        r'sightline_http_requests_total\{route="/api/frames/[^"/]*",status="200"\} (\S+)', answer.text
    )
    assert float(count) >= 2
    assert served.events[0].id not in answer.text
    assert "made-up" not in answer.text
    openmetrics = await served.client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert openmetrics.text.endswith("# EOF\n")


async def test_readiness_carries_its_reasons(served: Served) -> None:
    assert ((await served.get("/readyz")).status_code, (await served.get("/healthz")).status_code) == (200, 200)
    health = Health(ManualClock(), 60, starting="the log is not open yet")
    settings, world = ApiSettings(collection=NAME), served.world
    searcher = Searcher(world.index, SearchModels(Bags(), Bags()), SearcherSettings(collection=NAME))
    app: Any = create_app(Services(world.transport, world.index, world.blobs, searcher, settings, health=health))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1:8000") as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "the log is not open yet\n")
        health.warmed()
        health.waits_for("broker", "no answer")
        assert (await client.get("/readyz")).text == "waits for broker: no answer\n"
        assert (await client.get("/healthz")).status_code == 200
        health.recovered("broker")
        health.warn("unfinished records", ["5 frames are left"])
        assert (await client.get("/readyz")).text == "ready\nwarning: 5 frames are left\n"
        assert (await client.get("/api/status")).json()["warnings"] == ["5 frames are left"]
    searcher.close()
