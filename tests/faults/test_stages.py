"""Every branch of the error policy, on the embedded log and index, with frames that name their own fault."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from processors.stage import AnyStage
from schemas import topics
from streams.errors import NewerVersion, PlanError, StageBroken
from streams.transport import NewRecord
from tests.support.deployment import FRAMES, QUICK, Deployment, collections, deployed, fated, identity, running, until
from tests.support.fault_stages import Count, Fate, Vectors

OTHERS = [fated("ok", number=number) for number in range(100, 120)]


@pytest.fixture
async def here(tmp_path: Path, index_folder: Path) -> AsyncIterator[Deployment]:
    async with deployed(tmp_path, index_folder=index_folder) as deployment:
        yield deployment


async def drained(here: Deployment, sent: Sequence[NewRecord], stages: Sequence[AnyStage]) -> None:
    """Publish, work until the lag is 0, and check the promise."""
    await here.publish(sent)
    worker = here.worker(stages)
    async with running(worker) as task:
        await until(here.drained, task)
    findings = await here.findings()
    assert findings.kept, findings
    assert findings.accepted == len({identity(record) for record in sent})
    assert not worker.health.unready_reasons()


async def reasons(here: Deployment) -> dict[str, str]:
    return {frame: letter.reason for frame, letter in (await here.letters()).items()}


async def test_frames_become_events_and_points(here: Deployment) -> None:
    await drained(here, OTHERS, [Fate(), Vectors()])
    events = await here.enriched()
    assert events.keys() == {identity(record) for record in OTHERS}
    assert await here.index.count(FRAMES) == len(OTHERS)
    event = next(iter(events.values()))
    assert [entry.stage for entry in event.trace] == ["fate", "embed"]
    assert event.published is not None
    assert event.image.inline is None
    assert await here.blobs.get(event.tenant, event.image.uri)


async def test_an_invalid_frame_is_dead_and_the_others_are_not(here: Deployment) -> None:
    bad = fated("invalid")
    await drained(here, [*OTHERS[:10], bad, *OTHERS[10:]], [Fate(), Vectors()])
    assert await reasons(here) == {identity(bad): "refused"}
    letter = (await here.letters())[identity(bad)]
    assert (letter.stage, letter.value, letter.topic) == ("fate", bad.value, topics.RAW)


async def test_a_transient_error_kills_no_frame_and_retries_see_no_leftovers(here: Deployment) -> None:
    sent = [*OTHERS, *(fated(f"transient:{times}", number=times) for times in (1, 2, 3))]
    await drained(here, sent, [Fate(), Vectors()])
    assert await reasons(here) == {}
    assert {len(event.labels) for event in (await here.enriched()).values()} == {1}


async def test_out_of_memory_halves_the_batch(here: Deployment) -> None:
    stage = Fate()
    await drained(here, [*OTHERS, fated("oom:3")], [stage, Vectors()])
    assert await reasons(here) == {}
    sizes = [len(call) for call in stage.calls]
    assert max(sizes) > 3
    assert all(len(call) <= 3 for call in stage.calls[-2:])


async def test_a_frame_that_does_not_fit_alone_is_dead(here: Deployment) -> None:
    bad = fated("oom:0")
    await drained(here, [*OTHERS, bad], [Fate(), Vectors()])
    assert await reasons(here) == {identity(bad): "out_of_memory"}


async def test_an_unknown_error_is_bisected_down_to_the_poison_frame(here: Deployment) -> None:
    bad = fated("poison")
    await drained(here, [*OTHERS, bad], [Fate(), Vectors()])
    assert await reasons(here) == {identity(bad): "stage_error"}
    assert "KeyError" in (await here.letters())[identity(bad)].message


@pytest.mark.parametrize("fate", ["poison", "short"])
async def test_a_broken_stage_stops_the_worker_and_kills_no_frame(here: Deployment, fate: str) -> None:
    sent = [fated(fate, feed=f"feed{number % 3}", number=number) for number in range(30)]
    await here.publish(sent)
    worker = here.worker([Fate(), Vectors()])
    with pytest.raises(StageBroken, match="stage fate"):
        await asyncio.wait_for(worker.run(), 30)
    assert "stage fate fails" in worker.health.unready_reasons()[0]
    assert await here.letters() == {}
    # after a repair the same frames are enriched
    async with running(here.worker([Vectors()])) as task:
        await until(lambda: here.drained(group="sightline.embed"), task)
    assert len(await here.enriched()) == 30


async def test_frames_with_invalid_vectors_are_dead(here: Deployment) -> None:
    not_a_number, zero = fated("nan"), fated("zero")
    await drained(here, [*OTHERS, not_a_number, zero], [Fate(), Vectors()])
    assert await reasons(here) == dict.fromkeys((identity(not_a_number), identity(zero)), "refused_by_index")


async def test_an_unreadable_record_is_dead_under_an_id_of_its_own(here: Deployment) -> None:
    broken = [NewRecord(topics.RAW, b"k%d" % n, value) for n, value in enumerate([b"\xc1", b"", b"{}", b"[" * 9000])]
    await here.publish([*OTHERS, *broken])
    async with running(here.worker([Fate(), Vectors()])) as task:
        await until(here.drained, task)
    findings = await here.findings()
    assert findings.kept, findings
    assert (findings.enriched, findings.dead) == (len(OTHERS), len(broken))
    assert {letter.stage for letter in (await here.letters()).values()} == {"codec"}


async def test_a_newer_major_version_stops_the_worker_and_drains_nothing(here: Deployment) -> None:
    headers = {"ce_type": b"sightline.frame.raw.v2", "content-type": b"application/msgpack"}
    newer = NewRecord(topics.RAW, b"k", msgspec.msgpack.encode({"version": 2}), headers)
    await here.publish([newer])
    worker = here.worker([Fate(), Vectors()])
    with pytest.raises(NewerVersion):
        await asyncio.wait_for(worker.run(), 30)
    assert "update this worker" in worker.health.unready_reasons()[0]
    assert not await here.drained()


async def test_an_invalid_plan_is_refused_with_every_reason(here: Deployment) -> None:
    with pytest.raises(PlanError) as refused:
        await here.worker([Count()]).run()
    assert refused.value.reasons == ["stage 'count' requires 'labels', which no earlier stage of the plan provides"]


async def test_state_follows_each_feed_and_ignores_failed_batches(here: Deployment) -> None:
    """Counts are right although batches are retried, bisected and mixed over feeds."""
    fates = ["ok", "ok", "transient:2", "ok", "ok", "ok"]
    sent = [
        fated(fate, feed=feed, kind="frame", number=number)
        for number, fate in enumerate(fates * 5)
        for feed in ("lobby", "door")
    ]
    await drained(here, sent, [Fate(), Count(), Vectors()])
    events = await here.enriched()
    for feed in ("lobby", "door"):
        ours = [record for record in sent if record.headers["ce_source"].endswith(feed.encode())]
        assert [events[identity(record)].captions[0].text for record in ours] == [str(n + 1) for n in range(len(ours))]


async def test_a_later_death_deletes_the_points_of_an_enriched_frame(here: Deployment) -> None:
    """A frame that was enriched is delivered again and refused by a stage: none of its points is left."""
    sent = fated("ok")
    await drained(here, [sent], [Fate(), Vectors()])
    assert await here.index.count(FRAMES) == 1
    await here.publish([NewRecord(sent.topic, sent.key, fated("invalid").value, sent.headers)])
    async with running(here.worker([Fate(), Vectors()])) as task:
        await until(here.drained, task)
    findings = await here.findings()
    assert findings.kept, findings
    assert findings.dead == 1
    assert await here.index.count(FRAMES) == 0


@pytest.mark.parametrize("fates", [("ok", "invalid"), ("invalid", "ok")])
async def test_within_a_batch_a_frames_last_state_counts(here: Deployment, fates: tuple[str, str]) -> None:
    frames = [NewRecord(topics.RAW, b"key", fated(fate).value, fated("ok").headers) for fate in fates]
    await drained(here, frames, [Fate(), Vectors()])
    assert await here.index.count(FRAMES) == (fates[-1] == "ok")


def test_the_collections_are_named_for_the_model_set() -> None:
    assert collections()[FRAMES].name == f"frames-{QUICK.model_set}"
