"""Overload of live feeds: stages shed old frames and record it; detection keeps its rate while captions fall behind."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from msgspec.structs import replace

from processors.frame import Frame, Verdicts
from processors.stage import AnyStage, Lane
from schemas import codec, topics
from schemas.cloudevents import RAW_TYPE, frame_headers
from schemas.events import Answer, Caption, FrameEvent
from schemas.identity import DEFAULT_TENANT, live_position, partition_key
from stores.index import Filter, Match
from streams.clock import ManualClock, SystemClock
from streams.plan import Plan
from streams.transport import NewRecord
from tests.support.deployment import QUICK, Deployment, collections, deployed, running, until
from tests.support.events import frame_event
from tests.support.fault_stages import Vectors, commented
from tests.support.pictures import encoded, scene

MAX_AGE_SECONDS = 10.0
SETTINGS = replace(QUICK, shed_first=("caption", "embed"), batch_frames=4, in_flight_frames=16)
PLAN = Plan((("detect",), ("caption", "embed")))


class Detect:
    """Cheap: an answer per frame."""

    name: ClassVar[str] = "detect"
    lane: ClassVar[Lane] = "cpu"
    requires: ClassVar[frozenset[str]] = frozenset({"original"})
    provides: ClassVar[frozenset[str]] = frozenset({"answers"})

    def open(self, device: str) -> None: ...

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        for frame in frames:
            frame.answers = (Answer(question="anything?", text="yes"),)
        return [None] * len(frames)

    def close(self) -> None: ...


class SlowCaption:
    """Blocks until `released` is set."""

    name: ClassVar[str] = "caption"
    lane: ClassVar[Lane] = "gpu"
    requires: ClassVar[frozenset[str]] = frozenset({"original"})
    provides: ClassVar[frozenset[str]] = frozenset({"captions"})

    def __init__(self) -> None:
        self.released, self.seen = threading.Event(), 0

    def open(self, device: str) -> None: ...

    def process(self, frames: Sequence[Frame]) -> Verdicts:
        self.released.wait()
        self.seen += len(frames)
        for frame in frames:
            frame.captions = (Caption(text="seen", model="slow"),)
        return [None] * len(frames)

    def close(self) -> None: ...


def live_frame(number: int, captured: datetime, *, max_age_seconds: float = MAX_AGE_SECONDS) -> FrameEvent:
    content = commented(encoded(scene(number % 5, 32, 24)), f"ok#{number}")
    position = live_position("01932d5c-7d00-7000-8000-000000000000", number)
    return frame_event(
        position, content, feed="camera", captured=captured, ingested=captured, max_age_seconds=max_age_seconds
    )


async def accept(here: Deployment, events: Sequence[FrameEvent]) -> None:
    for event in events:
        assert event.image.inline is not None
        await here.blobs.put(event.tenant, event.image.uri, event.image.inline)
    key = partition_key(DEFAULT_TENANT, "camera")
    await here.publish(
        [NewRecord(topics.RAW, key, codec.encode_frame(event), frame_headers(event, RAW_TYPE)) for event in events]
    )


async def point_count(here: Deployment, frame: str) -> int:
    where = Filter(must=(Match(field="frame", any_of=(frame,)),))
    return sum([await here.index.count(spec.name, where) for spec in collections().values()])


@pytest.mark.parametrize(
    ("age_seconds", "max_age_seconds", "skipped", "indexed"),
    [
        (5, MAX_AGE_SECONDS, {}, True),
        (15, MAX_AGE_SECONDS, {"caption": "shed", "embed": "shed"}, False),
        (25, MAX_AGE_SECONDS, {"detect": "shed", "caption": "shed", "embed": "shed"}, False),
        (3600, 0.0, {}, True),
    ],
)
async def test_the_older_a_live_frame_the_more_stages_shed_it(
    tmp_path: Path,
    index_folder: Path,
    age_seconds: float,
    max_age_seconds: float,
    skipped: dict[str, str],
    indexed: bool,  # noqa: FBT001
) -> None:
    caption = SlowCaption()
    caption.released.set()
    async with deployed(tmp_path, index_folder=index_folder) as here:
        captured = datetime.now(UTC) - timedelta(seconds=age_seconds)
        frame = live_frame(1, captured, max_age_seconds=max_age_seconds)
        await accept(here, [frame])
        stages: list[AnyStage] = [Detect(), caption, Vectors()]
        plan = Plan((("detect", "caption", "embed"),))
        async with running(here.worker(stages, plan=plan, settings=SETTINGS, clock=SystemClock())) as task:
            await until(lambda: here.drained(group="sightline.detect"), task)
        event = (await here.enriched())[frame.id]
        assert {entry.stage: entry.reason for entry in event.skipped} == skipped
        assert bool(event.answers) is ("detect" not in skipped)
        assert (await point_count(here, frame.id) > 0) is indexed


async def test_detection_keeps_its_rate_while_captions_fall_behind(tmp_path: Path, index_folder: Path) -> None:
    """While captions block, detection processes every frame. Released, captions shed frames that are too old, and the
    lag reaches zero."""
    caption, clock = SlowCaption(), ManualClock()
    declared = {"detect": Detect(), "caption": caption, "embed": Vectors()}
    frames = [live_frame(number, datetime.now(UTC), max_age_seconds=3600.0) for number in range(60)]
    async with deployed(tmp_path, between=["caption"], index_folder=index_folder) as here:
        first = here.worker([Detect()], plan=PLAN, segment=0, plan_stages=declared, settings=SETTINGS)
        second = here.worker(
            [caption, Vectors()],
            plan=PLAN,
            segment=1,
            plan_stages=declared,
            settings=SETTINGS,
            clock=OffsetClock(clock),
        )
        await accept(here, frames)
        async with running(second) as captioning:
            async with running(first) as detecting:
                await until(lambda: here.drained(group="sightline.detect"), detecting)
            assert not await here.drained(topics.between("caption"), "sightline.caption")
            clock.advance(1.5 * 3600)
            caption.released.set()
            await until(lambda: here.drained(topics.between("caption"), "sightline.caption"), captioning)
        events = (await here.enriched()).values()
        shed = [event for event in events if {entry.reason for entry in event.skipped} == {"shed"}]
        assert len(events) == 60
        assert all(event.answers for event in events), "detection processed every frame"
        assert caption.seen + len(shed) == 60
        assert caption.seen <= 2 * SETTINGS.batch_frames + SETTINGS.batch_frames
        assert all(not event.captions and not event.embeddings for event in shed)


class OffsetClock(SystemClock):
    """The system clock plus an offset that a test advances: the worker's timers run as usual, and frames grow old."""

    def __init__(self, offset: ManualClock) -> None:
        self._offset = offset

    def now(self) -> float:
        return super().now() + self._offset.monotonic()
