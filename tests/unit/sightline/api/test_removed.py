"""Pictures that retention has removed: status 410 with the reason; a thumbnail that is left is shown."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from schemas.retention import Trimmed
from streams.lifecycle.kept_frames import trimmed_record
from tests.unit.sightline.api.deployment import deployed

LATER = datetime(2100, 1, 2, 3, 4, tzinfo=UTC)


async def test_subscribers_learn_that_retention_removed_a_picture(tmp_path: Path) -> None:
    async with deployed(tmp_path) as here:
        pictures = here.pictures((("red", "circle"),), (("blue", "square"),))
        first, second = await here.world.add(pictures, feed="lobby", thumbnails=True)
        for event in (first, second):
            await here.world.blobs.delete(event.tenant, event.image.uri)
        await here.world.blobs.delete(second.tenant, second.image.thumbnail)
        lost = await here.client.get(f"/api/frames/{first.id}/image")
        assert (lost.status_code, lost.json()["error"]["code"]) == (404, "not_found")
        await here.world.transport.publish([trimmed_record(Trimmed(tenant=first.tenant, feed="lobby", before=LATER))])
        for frame, kind in ((first, "image"), (first, "annotated"), (second, "thumbnail")):
            removed = await here.client.get(f"/api/frames/{frame.id}/{kind}")
            assert (removed.status_code, removed.json()["error"]["code"]) == (410, "removed_by_retention"), kind
            assert "of feed lobby it keeps pictures from 2100-01-02 03:04 UTC on" in removed.json()["error"]["message"]
        assert (await here.client.get(f"/api/frames/{first.id}/thumbnail")).status_code == 200
        assert (await here.client.get(f"/api/frames/{second.id}")).status_code == 200
