"""`sightline groups`: list the consumer groups of the log, and give up one that does not come back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Annotated

import typer

from sightline.config import Config
from sightline.terminal.console import quoted
from sightline.terminal.options import CommandError, UsageError, configured, out
from sightline.terminal.render import counted, local_time, new_table
from sightline.terminal.signals import doing
from sightline.wiring.existing_data import check_data_folder
from sightline.wiring.parts import connected_transport, opened
from sightline.wiring.unfinished import dead_records, plan_groups
from streams.feeds.group_member import GROUP as FEEDS_GROUP
from streams.lifecycle.finish_topic import GiveUp
from streams.lifecycle.unfinished import known_groups
from streams.plan import Plan
from streams.transport import Group, TopicSpec

app = typer.Typer(no_args_is_help=True, help="Consumer groups: list them; give up one that does not come back.")

COLUMNS = ("group", "of the plan", "members", "records", "oldest", "holds back", "last seen", "topics")
NUMBERS = ("members", "records", "holds back")
REASON = "group_given_up"
"""Of dead letters."""
Name = Annotated[str, typer.Argument(help="The group's name, as `sightline groups list` shows it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without it, the command only says what it would do.")]
Force = Annotated[
    bool, typer.Option("--force", help="Also a group of the present plan: its unfinished frames become dead.")
]


@app.command("list")
@configured
async def list_(config: Config) -> None:
    """List the groups: which belong to the plan, how many workers they have, and what they have not finished.

    The oldest record is the one that the group has not finished for the longest time.
    """
    check_data_folder(config)
    readers = Plan(config.segments).readers(config.worker.group)
    own = {*readers, FEEDS_GROUP}
    async with connected_transport(config, as_is=True) as transport:
        specs = await transport.topics()
        groups = await known_groups(transport, specs, readers)
    table = new_table(COLUMNS, right=NUMBERS)
    for name, group in sorted(groups.items()):
        table.add_row(quoted(name), "yes" if name in own else "no", *_row(group, specs, config.zone))
    out.print(table)


def _row(group: Group, specs: Mapping[str, TopicSpec], zone: tzinfo | None) -> tuple[str, ...]:
    """Compacted topics are left out of the counts: each reader starts at their beginning."""
    positions = [known for partition, known in group.positions.items() if not specs[partition.topic].compacted]
    oldest = min((known.oldest for known in positions if known.oldest is not None), default=None)
    sizes = [known.held_bytes for known in positions if known.held_bytes is not None]
    seen = "now" if group.members else _time(group.last_seen, zone)
    return (
        str(group.members),
        str(sum(known.lag for known in positions)),
        _time(oldest, zone),
        f"{sum(sizes) / (1 << 20):.1f} MiB" if sizes else "",
        seen,
        quoted(", ".join(sorted({partition.topic for partition in group.positions}))),
    )


def _time(seconds: float | None, zone: tzinfo | None) -> str:
    return "" if seconds is None else local_time(datetime.fromtimestamp(seconds, UTC), zone)


@app.command("give-up")
@configured
async def give_up(
    config: Config,
    group: Name,
    yes: Yes = False,  # noqa: FBT002 - a flag as typed
    force: Force = False,  # noqa: FBT002 - a flag as typed
) -> None:
    """Forget a group that does not come back, so that nothing is kept for it any more.

    Frames that neither the plan nor any other group finishes become dead: `sightline dead list --reason
    group_given_up` lists them, and a replay sends them through the present plan. A group with live members is refused.
    """
    check_data_folder(config)
    async with opened(config) as parts:
        groups = plan_groups(config, parts.transport)
        given_up = await _checked(group, await groups.give_up_means(group), force=force)
        _print(given_up)
        if not yes:
            out.print("nothing was changed; `--yes` does it")
            return
        why = f"consumer group {group} was given up; no other group had finished the frame"
        letters = await dead_records(parts, REASON, why)
        with doing("giving the group up; run it again to go on"):
            dead = await groups.give_up(given_up, letters.convert)
    end = "has nothing left to do" if given_up.of_plan else "is forgotten"
    out.print(f"group {quoted(group)} {end}; {counted(dead, 'frame')} dead")


async def _checked(name: str, given_up: GiveUp | None, *, force: bool) -> GiveUp:
    """Raises UsageError for a group that is not there, CommandError for one that may not be given up."""
    if given_up is None:
        raise UsageError(f"group {name} does not exist; `sightline groups list` lists all groups")
    if given_up.members:
        raise CommandError(f"group {name} has {counted(given_up.members, 'live member')}: stop its workers first")
    if given_up.of_plan and not force:
        raise CommandError(
            f"group {name} is of the present plan: run `sightline work` to finish its records; --force gives them up"
        )
    if given_up.of_plan and given_up.others:
        raise CommandError(
            f"group {name} is of the present plan, and {', '.join(given_up.others)} has read the same topic: give that"
            " one up first"
        )
    return given_up


def _print(given_up: GiveUp) -> None:
    name, held = quoted(given_up.group), counted(given_up.held, "record")
    out.print(f"group {name} holds {held} back")
    for topic, records in given_up.dead.items():
        out.print(f"{counted(records, 'frame')} on {topic} that no other group finishes: dead")
