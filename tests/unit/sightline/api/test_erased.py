"""An erased frame is gone for every client, though its event is still on the log and in the server's memory."""

from __future__ import annotations

from pathlib import Path

from schemas.events import Deletion
from streams.lifecycle.deletions import deletion_record, publish_deletions
from streams.lifecycle.erasure import Request
from streams.lifecycle.frame_search import FoundFrame, FrameSelection
from tests.browser.world import TENANT
from tests.support.pictures import START
from tests.unit.sightline.api.deployment import deployed

KINDS = ((("red", "circle"),), (("blue", "square"),))


async def test_an_erased_frame_is_gone_and_another_is_not(tmp_path: Path) -> None:
    async with deployed(tmp_path) as site:
        erased, other = await site.world.add(site.pictures(*KINDS), feed="lobby")
        await site.read_log()
        request = Request(id="0199", selection=FrameSelection(tenant=TENANT), requested=START)
        deletions = request.deletions({erased.id: FoundFrame("lobby")})
        await site.world.transport.publish([deletion_record(deletion) for deletion in deletions])
        for path in ("", "/card", "/image", "/thumbnail", "/annotated"):
            answer = await site.client.get(f"/api/frames/{erased.id}{path}")
            assert (answer.status_code, answer.json()["error"]["code"]) == (410, "erased"), path
            assert "request 0199" in answer.json()["error"]["message"]
            assert (await site.client.get(f"/api/frames/{other.id}{path}")).status_code == 200


async def test_a_search_leaves_out_erased_frames_of_which_the_index_still_has_points(tmp_path: Path) -> None:
    """As an older copy of the index does until a worker starts."""
    async with deployed(tmp_path) as site:
        erased, other = await site.world.add(site.pictures(*KINDS), feed="lobby")
        deletion = Deletion(frame=erased.id, tenant=TENANT, feed="lobby", requested=START)
        await publish_deletions(site.world.transport, [deletion])
        for query in ("feed=lobby", "q=red circle", "q=blue square"):
            found = (await site.client.get(f"/api/search?{query}")).json()
            assert erased.id not in {hit["id"] for hit in found["hits"]}, query
        newest = (await site.client.get("/api/search?feed=lobby")).json()
        assert ([hit["id"] for hit in newest["hits"]], newest["total"]) == ([other.id], 1)
        assert (await site.client.get(f"/api/search?like={erased.id}")).status_code == 410
