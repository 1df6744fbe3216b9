"""The topics of a deployment say who must finish their records."""

from __future__ import annotations

import msgspec

from sightline.config import Config
from sightline.wiring.parts import declared_topics
from streams.plan import Plan


def test_frame_topics_name_the_groups_of_the_segments_that_read_them() -> None:
    config = msgspec.structs.replace(Config(), segments=(("decode", "detect"), ("decode", "caption")))
    specs = declared_topics(config, Plan(config.segments))
    assert {spec.name: spec.finished_by for spec in specs if spec.finished_by} == {
        "frames.raw": ("sightline.decode",),
        "frames.to.caption": ("sightline.caption",),
    }
