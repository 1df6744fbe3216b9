"""`sightline topics`: what travels where, what each topic must be, and how far each group is."""

from __future__ import annotations

from collections.abc import Mapping

import typer
from rich.table import Table

from sightline.config import Config
from sightline.terminal.options import configured, out
from sightline.wiring.parts import connected_transport, declared_topics
from streams.errors import PlanError
from streams.plan import Plan
from streams.transport import TopicSpec, Transport

app = typer.Typer(no_args_is_help=True, help="Topics: create, describe, check.")

COLUMNS = ("topic", "partitions", "records", "lag", "largest", "kept")
_TO_THE_LEFT = ("topic", "kept")


@app.command()
@configured
async def create(config: Config) -> None:
    """Create the topics that are missing; an existing one that does not fit is refused with the difference."""
    declared = declared_topics(config, Plan(config.segments))
    async with connected_transport(config) as transport:
        before = await transport.topics()
        await transport.create(declared)
    made = [spec.name for spec in declared if spec.name not in before]
    out.print("created: " + ", ".join(made) if made else "every topic was there, as declared")


@app.command()
@configured
async def describe(config: Config) -> None:
    """Partitions, records, lag, largest record and retention of every topic of this deployment that is there."""
    plan = Plan(config.segments)
    readers = {plan.topic_into(number): plan.group(config.worker.group, number) for number in range(len(plan.segments))}
    table = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, justify="left" if name in _TO_THE_LEFT else "right")
    async with connected_transport(config) as transport:
        there = await transport.topics()
        for name in sorted(spec.name for spec in declared_topics(config, plan)):
            if name in there:
                table.add_row(*await _row(transport, there[name], readers))
            else:
                table.add_row(name, *[""] * (len(COLUMNS) - 2), "not there")
    out.print(table)


@app.command()
@configured
async def check(config: Config) -> None:
    """Compare the topics that are there with those declared; every difference is told, and nothing is changed."""
    declared = declared_topics(config, Plan(config.segments))
    async with connected_transport(config) as transport:
        there = await transport.topics()
        wrong = [f"topic {spec.name}: it does not exist" for spec in declared if spec.name not in there]
        try:
            await transport.create([spec for spec in declared if spec.name in there])  # creates none, compares all
        except PlanError as error:
            wrong += error.reasons
    if wrong:
        raise PlanError(wrong)
    out.print("every topic is as declared")


async def _row(transport: Transport, spec: TopicSpec, readers: Mapping[str, str]) -> list[str]:
    ends, lag = await transport.ends(spec.name), ""
    if spec.name in readers:
        lag = str(sum((await transport.group_lag(readers[spec.name], [spec.name])).values()))
    records = sum(end - first for first, end in ends.values())
    return [spec.name, str(spec.partitions), str(records), lag, f"{spec.max_record_bytes / 1024:g} KiB", _kept(spec)]


def _kept(spec: TopicSpec) -> str:
    if spec.compacted:
        return "last per key"
    bounds = []
    if spec.retention_seconds is not None:
        bounds.append(f"{spec.retention_seconds / 3600:g} h")
    if spec.retention_bytes is not None:
        bounds.append(f"{spec.retention_bytes / (1 << 20):g} MiB a partition")
    return ", ".join(bounds) or "for ever"
