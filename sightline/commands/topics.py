"""`sightline topics`: create, describe and check the topics of this deployment."""

from __future__ import annotations

from collections.abc import Mapping

import typer

from sightline.config import Config
from sightline.terminal.options import configured, out
from sightline.terminal.render import new_table
from sightline.wiring.existing_data import check_data_folder
from sightline.wiring.parts import connected_transport, declared_topics, group_topics
from streams.errors import PlanError
from streams.plan import Plan
from streams.transport import TopicSpec, Transport

app = typer.Typer(no_args_is_help=True, help="Topics: create, describe, check.")

COLUMNS = ("topic", "partitions", "records", "lag", "largest", "retention")
NUMBERS = ("partitions", "records", "lag", "largest")


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
async def describe(config: Config) -> None:
    """Show partitions, records, lag, largest record and retention of every topic."""
    check_data_folder(config)
    readers = {topic: group for group, topics in group_topics(config).items() for topic in topics}
    table = new_table(COLUMNS, right=NUMBERS)
    async with connected_transport(config) as transport:
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
    """Compare existing topics with the plan and report every difference. Nothing is changed."""
    check_data_folder(config)
    declared = declared_topics(config, Plan(config.segments))
    async with connected_transport(config) as transport:
        existing = await transport.topics()
        differences = [f"topic {spec.name}: it does not exist" for spec in declared if spec.name not in existing]
        try:
            await transport.create([spec for spec in declared if spec.name in existing])  # compares, creates none
        except PlanError as error:
            differences += error.reasons
    if differences:
        raise PlanError(differences)
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
