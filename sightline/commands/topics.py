"""`sightline topics`: create, describe and check the topics of this deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from sightline.config import Config
from sightline.terminal.options import CommandError, UsageError, configured, out, print_lines
from sightline.terminal.render import counted, new_table
from sightline.terminal.signals import doing
from sightline.wiring.existing_data import check_data_folder
from sightline.wiring.lost_parts import check_parts
from sightline.wiring.parts import connected_transport, declared_topics, group_topics, opened
from sightline.wiring.unfinished import dead_records, plan_groups, unfinished
from streams.errors import PlanError
from streams.lifecycle.finish_topic import onward
from streams.lifecycle.unfinished import is_left_over
from streams.plan import Plan
from streams.transport import TopicSpec, Transport

app = typer.Typer(no_args_is_help=True, help="Topics: create, describe, check, apply settings, finish.")

COLUMNS = ("topic", "partitions", "records", "lag", "largest", "retention")
NUMBERS = ("partitions", "records", "lag", "largest")
REASON = "left_over"
"""Of dead letters."""
Topic = Annotated[str, typer.Argument(help="A topic that the plan does not read; `topics check` names those.")]
Dead = Annotated[bool, typer.Option("--dead", help="Dead-letter each frame instead, with the reason left_over.")]


@app.command()
@configured
async def create(config: Config) -> None:
    """Create missing topics. A topic that exists and differs from the plan is an error that names the difference."""
    declared = declared_topics(config, Plan(config.segments))
    async with connected_transport(config) as transport:
        before = await transport.topics()
        await transport.create(declared)
    created = [spec.name for spec in declared if spec.name not in before]
    out.print("created: " + ", ".join(created) if created else "all topics exist already, as declared")


@app.command()
@configured
async def apply(config: Config) -> None:
    """Create missing topics and give existing ones the configured retention and record size, where the log allows it.

    The number of partitions cannot be changed here; the error says how it can.
    """
    declared = declared_topics(config, Plan(config.segments))
    async with connected_transport(config) as transport:
        changes = await transport.apply(declared)
    for change in changes:
        out.print(change)
    if not changes:
        out.print("all topics exist already, as declared")


@app.command()
@configured
async def finish(config: Config, topic: Topic, dead: Dead = False) -> None:  # noqa: FBT002 - a flag as typed
    """Finish frames that another plan left on a topic between its segments: the present plan goes on with them.

    What is done stays done: each frame's trace says where to go on. A run that is interrupted is continued by the next
    one.
    """
    check_data_folder(config)
    plan = Plan(config.segments)
    if topic in plan.topics():
        raise UsageError(f"{topic} is read by the present plan: run `sightline work`")
    if not is_left_over(topic, plan.topics()):
        raise UsageError(f"{topic} is not left over; `sightline topics check` names the topics that are")
    async with opened(config) as parts:
        if topic not in await parts.transport.topics():
            raise UsageError(f"topic {topic} does not exist")
        why = f"the frame was left on {topic}, which the plan does not read"
        convert = (await dead_records(parts, REASON, why)).convert if dead else onward(plan)
        with doing(f"finishing {topic}; run it again to go on"):
            finished = await plan_groups(config, parts.transport).finish_topic(topic, convert)
    ways = {True: "dead; `sightline dead list --reason left_over` lists them", False: "moved on: run `sightline work`"}
    out.print(f"{counted(finished, 'frame')} {ways[dead]}")


@app.command()
@configured
async def describe(config: Config) -> None:
    """Show partitions, records, lag, largest record and retention of every topic."""
    check_data_folder(config)
    readers = {topic: group for group, topics in group_topics(config).items() for topic in topics}
    table = new_table(COLUMNS, right=NUMBERS)
    async with connected_transport(config, as_is=True) as transport:
        print_lines(await check_parts(config, transport))
        existing = await transport.topics()
        for name in sorted(spec.name for spec in declared_topics(config, Plan(config.segments))):
            if name in existing:
                table.add_row(*await _row(transport, existing[name], readers))
            else:
                table.add_row(name, *[""] * (len(COLUMNS) - 2), "missing")
    out.print(table)


@app.command()
@configured
async def check(config: Config) -> None:
    """Compare existing topics with the plan and report every difference, and frames on topics that it does not read.

    Nothing is changed. Exit status 1 means that there is something to do.
    """
    check_data_folder(config)
    declared = declared_topics(config, Plan(config.segments))
    async with connected_transport(config, as_is=True) as transport:
        existing = await transport.topics()
        differences = [f"topic {spec.name}: it does not exist" for spec in declared if spec.name not in existing]
        differences += await transport.differences(declared)
        left_over = (await unfinished(config, transport)).left_over
    if differences:
        raise PlanError([*differences, *(entry.warning for entry in left_over)])
    if left_over:
        raise CommandError("\n".join(entry.warning for entry in left_over))
    out.print("all topics are as declared")


async def _row(transport: Transport, spec: TopicSpec, readers: Mapping[str, str]) -> list[str]:
    ends, lag = await transport.ends(spec.name), ""
    if spec.name in readers:
        lag = str(sum((await transport.group_lag(readers[spec.name], [spec.name])).values()))
    records = sum(end - first for first, end in ends.values())
    largest = f"{spec.max_record_bytes / 1024:g} KiB"
    return [spec.name, str(spec.partitions), str(records), lag, largest, _retention(spec)]


def _retention(spec: TopicSpec) -> str:
    if spec.compacted:
        return "compacted"
    bounds = []
    if spec.retention_seconds is not None:
        bounds.append(f"{spec.retention_seconds / 3600:g} h")
    if spec.retention_bytes is not None:
        bounds.append(f"{spec.retention_bytes / (1 << 20):g} MiB a partition")
    return ", ".join(bounds) or "unlimited"
