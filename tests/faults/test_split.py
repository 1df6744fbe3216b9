"""The events are the same whether the plan runs in one process or in several with topics between them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from processors.stage import AnyStage
from processors.stages.decode import Decode, DecodeSettings
from processors.stages.gate import Gate, GateSettings
from schemas import topics
from schemas.identity import partition_key
from streams.plan import Plan, StageShape
from streams.topic_reader import read_topic
from streams.transport import NewRecord
from tests.support.deployment import Deployment, deployed, running, until
from tests.support.fault_stages import Count, Fate, Shade, Vectors, commented
from tests.support.picture_headers import picture_headers
from tests.support.pictures import START, encoded, scene

FUSED = Plan((("decode", "gate", "fate", "shade", "count", "embed"),))
SPLIT = Plan((("decode", "gate", "fate"), ("decode", "shade"), ("count", "embed")))
SPLIT_IN_FOUR = Plan((("decode",), ("decode", "gate"), ("fate", "count"), ("decode", "shade", "embed")))


def built() -> dict[str, AnyStage]:
    stages: list[AnyStage] = [
        Decode(DecodeSettings(threads=1)),
        Gate(GateSettings(stages=("shade", "embed"))),
        Fate(),
        Shade(),
        Count(),
        Vectors(),
    ]
    return {stage.name: stage for stage in stages}


def pictures() -> list[NewRecord]:
    """Two cameras that move at times, some stills, an invalid one, and one that no decoder can read."""
    sent = []
    for number in range(40):
        feed, kind = [("lobby", "frame"), ("door", "frame"), ("stills", "still")][number % 3]
        fate = "invalid" if number == 7 else "transient:1" if number == 11 else "ok"
        content = commented(encoded(scene(number // 9, 96, 72)), f"{fate}#{number}")
        if number == 20:
            content = content[:60]
        captured = START + timedelta(seconds=number / 3)
        headers = picture_headers(
            f"/tests/{feed}", str(number), content_type="image/jpeg", kind=kind, captured=captured
        )
        sent.append(NewRecord(topics.RAW, partition_key("default", feed), content, headers))
    return sent


async def run(here: Deployment, plan: Plan) -> dict[str, dict[str, Any]]:
    """Events by frame, without what a deployment may change: times, and the worker of each stage."""
    stages = built()
    shapes: dict[str, StageShape] = dict(stages)
    await here.publish(pictures())
    async with AsyncExitStack() as stack:
        tasks = []
        for segment, names in enumerate(plan.segments):
            own = built()
            worker = here.worker([own[name] for name in names], plan=plan, segment=segment, plan_stages=shapes)
            tasks.append(await stack.enter_async_context(running(worker)))
        for segment in range(len(plan.segments)):
            topic, group = plan.topic_into(segment), plan.group("sightline", segment)
            await until(lambda t=topic, g=group: here.drained(t, g), tasks[segment])  # type: ignore[misc]
    findings = await here.findings()
    assert findings.kept, findings
    return {frame: _comparable(msgspec.to_builtins(event)) for frame, event in (await here.enriched()).items()}


def _comparable(event: dict[str, Any]) -> dict[str, Any]:
    traced = sorted(entry["stage"] for entry in event.pop("trace"))
    return {**event, "ingested": None, "published": None, "traced": traced}


@pytest.mark.parametrize("plan", [SPLIT, SPLIT_IN_FOUR], ids=["three segments", "four segments"])
async def test_a_split_plan_gives_the_same_events(tmp_path: Path, index_folder: Path, plan: Plan) -> None:
    async with deployed(tmp_path / "fused", index_folder=index_folder) as here:
        fused, fused_letters = await run(here, FUSED), await here.letters()
    between = [plan.new_stages(segment)[0] for segment in range(1, len(plan.segments))]
    async with deployed(tmp_path / "split", between=between, index_folder=index_folder) as here:
        split, split_letters = await run(here, plan), await here.letters()
        between_records = [record async for record in read_topic(here.transport, plan.topic_into(1))]
    assert len(fused) == 38
    assert split == fused
    assert {frame: (letter.stage, letter.reason) for frame, letter in split_letters.items()} == {
        frame: (letter.stage, letter.reason) for frame, letter in fused_letters.items()
    }
    gated = [event for event in fused.values() if any(entry["stage"] == "embed" for entry in event.get("skipped", ()))]
    assert 0 < len(gated) < len(fused), "the gate leaves out some frames but not all"
    assert between_records
    assert all(len(record.value or b"") > 1000 for record in between_records), (
        "small originals travel inside the records"
    )
