"""What no worker of the plan finishes: told when a command starts, and ended by other commands."""

from __future__ import annotations

import time
from functools import partial

from sightline.config import Config
from sightline.wiring.build_worker import collections, worker_settings
from sightline.wiring.parts import Parts
from streams.backends import Backends
from streams.errors import Forbidden, Unavailable
from streams.lifecycle.finish_topic import PlanGroups
from streams.lifecycle.unfinished import Unfinished, find_unfinished
from streams.plan import Plan
from streams.readiness.instruments import Instruments, M
from streams.readiness.unfinished_watch import SUBJECT
from streams.transport import Transport
from streams.worker.dead_records import DeadRecords
from streams.worker.in_flight import Death

STAGE = "plan"
"""Stands as `stage` in the dead letters of records that no worker of the plan reads."""


async def unfinished(config: Config, transport: Transport) -> Unfinished:
    """Raises Unavailable, Forbidden."""
    return await find_unfinished(transport, Plan(config.segments), config.worker.group, time.time())


async def unfinished_lines(config: Config, transport: Transport) -> list[str]:
    """One line for each thing that needs a person; none where the broker does not let this user see groups."""
    try:
        return (await unfinished(config, transport)).warnings
    except Forbidden:
        return []


async def warn_of_unfinished(config: Config, transport: Transport, instruments: Instruments[M]) -> list[str]:
    """The lines, which are warnings of this process from now on; a broker that is away is waited for."""
    lines = await instruments.retry.forever("broker", partial(unfinished_lines, config, transport), Unavailable)
    instruments.health.warn(SUBJECT, lines)
    return lines


def plan_groups(config: Config, transport: Transport) -> PlanGroups:
    return PlanGroups(transport, Plan(config.segments), config.worker.group)


async def dead_records(parts: Parts, reason: str, message: str) -> DeadRecords:
    """Dead letters with this reason; points are deleted from the collections of the configured models."""
    settings = worker_settings(parts.config)
    existing = await parts.index.collections()
    names = [spec.name for spec in collections(parts.config, settings).values() if spec.name in existing]
    backends = Backends(parts.transport, parts.index, parts.blobs)
    return DeadRecords(backends, settings, await parts.transport.topics(), names, Death(STAGE, reason, message))
