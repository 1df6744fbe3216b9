"""`sightline topics`: what travels where, and how far each group is."""

from __future__ import annotations

import typer
from rich.table import Table

from sightline.config import Config
from sightline.options import configured, out
from sightline.wiring import declared_topics, opened_transport
from streams.plan import Plan

app = typer.Typer(no_args_is_help=True, help="Topics: create, describe, check.")


@app.command()
@configured
async def create(config: Config) -> None:
    """Create the topics that are missing; an existing one that does not fit is refused with the difference."""
    async with opened_transport(config):
        pass
    out.print(
        "topics are as declared: " + ", ".join(spec.name for spec in declared_topics(config, Plan(config.segments)))
    )


@app.command()
@configured
async def describe(config: Config) -> None:
    """Partitions, records and lag of every topic."""
    plan = Plan(config.segments)
    readers = {plan.topic_into(number): plan.group(config.worker.group, number) for number in range(len(plan.segments))}
    table = Table(box=None, pad_edge=False)
    for name in ("topic", "partitions", "records", "lag", "kept"):
        table.add_column(name, justify="left" if name in ("topic", "kept") else "right")
    async with opened_transport(config) as transport:
        for name, spec in sorted((await transport.topics()).items()):
            ends = await transport.ends(name)
            records = sum(end - first for first, end in ends.values())
            lag = sum((await transport.group_lag(readers[name], [name])).values()) if name in readers else None
            kept = "last per key" if spec.compacted else f"{(spec.retention_seconds or 0) / 3600:g} h"
            table.add_row(name, str(spec.partitions), str(records), "" if lag is None else str(lag), kept)
    out.print(table)


@app.command()
@configured
async def check(config: Config) -> None:
    """Compare the topics that are there with those declared."""
    async with opened_transport(config):
        out.print("every topic is as declared")
