"""Nothing of another tenant on the same log, index and blobs is seen, by any route and any kind of id."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pytest
import pytest_asyncio

from schemas.events import FrameEvent
from tests.unit.sightline.api.deployment import Deployment, deployed

pytestmark = pytest.mark.asyncio(loop_scope="module")
OURS = ((("red", "circle"),), (("blue", "square"), ("green", "star")), (("yellow", "ring"),))
THEIRS = ((("purple", "cross"),), (("cyan", "triangle"), ("red", "circle")))
BY_ID = (
    "/api/frames/{id}",
    "/api/frames/{id}/card",
    "/api/frames/{id}/image",
    "/api/frames/{id}/thumbnail",
    "/api/frames/{id}/annotated",
    "/api/search?like={id}",
    "/api/search?like={id}&q=a+red+circle",
    "/api/search?feed=lobby&cursor={cursor}",
)
WITHOUT_ID = (
    "/api/status",
    "/api/examples",
    "/api/search?q=a+purple+cross",
    "/api/search?q=a+red+circle&limit=200&fold=true",
    "/api/search?since=1h&limit=200",
    "/api/search?feed=vault",
    "/api/search?feed=vault&feed=lobby",
    "/api/search?label=cross",
    "/api/search?q=2+crosses",
    "/api/search?q=xyzzy",
)
ELSEWHERE = {"/", "/{name:str}", "/metrics", "/readyz", "/healthz", "/api/events", "/api/search/image"}
"""Routes that tests below ask in their own way, or that know no frames."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("tenants")
    async with deployed(folder) as site:
        yield site


async def answer(site: Deployment, path: str, *secret: str) -> tuple[int, list[tuple[str, str]], bytes]:
    """The whole answer, with what the question held taken out."""
    response = await site.client.get(path)
    content = response.content
    for text in secret:
        content = content.replace(text.encode(), b"ID")
    ignored = ("etag",) if content != response.content else ()
    return response.status_code, [pair for pair in response.headers.items() if pair[0] not in ignored], content


async def events(site: Deployment, number: int) -> list[bytes]:
    """The first messages of the event stream."""
    listener = site.app.live.listen()
    messages = [(await anext(listener)).content for _ in range(number)]
    await listener.aclose()  # type: ignore[attr-defined]
    return messages


async def uploaded(site: Deployment, picture: bytes) -> bytes:
    return (await site.client.post("/api/search/image?limit=200", content=picture)).content


def cursor_of(event: FrameEvent, frame: str) -> str:
    assert event.captured is not None
    return quote(f"t{event.captured.isoformat(timespec='microseconds').replace('+00:00', 'Z')}_{frame}")


async def test_no_route_tells_of_another_tenant(site: Deployment) -> None:
    ours = await site.world.add(site.pictures(*OURS), feed="lobby")
    theirs_shown = site.pictures(*THEIRS, seed=8)
    await site.read_log()
    before = [await answer(site, path) for path in WITHOUT_ID]
    streamed, found = await events(site, 1 + len(ours)), await uploaded(site, theirs_shown[0].jpeg)
    theirs = await site.world.add(theirs_shown, feed="vault", tenant="acme")
    (gated,) = await site.world.add(site.pictures(THEIRS[0], seed=9), feed="vault", gated=True, tenant="acme")
    await site.read_log()

    for path, known in zip(WITHOUT_ID, before, strict=True):
        assert await answer(site, path) == known, path
    assert await events(site, 1 + len(ours)) == streamed
    assert await uploaded(site, theirs_shown[0].jpeg) == found

    for path in BY_ID:
        unknown = str(uuid4())
        expected = await answer(site, path.format(id=unknown, cursor=cursor_of(theirs[0], unknown)), unknown)
        for foreign in (*theirs, gated):
            asked = path.format(id=foreign.id, cursor=cursor_of(theirs[0], foreign.id))
            assert await answer(site, asked, foreign.id) == expected, path
        own = await site.client.get(path.format(id=ours[0].id, cursor=cursor_of(ours[0], ours[0].id)))
        assert own.status_code == 200, path
        malformed = await site.client.get(path.format(id="zzz", cursor="zzz"))
        assert malformed.status_code in (400, 404), path

    metrics = (await site.client.get("/metrics")).text
    assert not any(text in metrics for text in ("acme", "vault", theirs[0].id))


async def test_every_route_is_asked(site: Deployment) -> None:
    asked = {path.split("?")[0].replace("{id}", "{frame:uuid}") for path in (*BY_ID, *WITHOUT_ID)}
    assert {route.path for route in site.app.routes.routes} == asked | ELSEWHERE
