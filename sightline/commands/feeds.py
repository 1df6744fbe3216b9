"""`sightline feeds`: sources that are read for as long as their record stands in the topic of feeds."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Annotated, Any

import typer
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from schemas.events import Feed
from schemas.identity import check_name, partition_key
from sightline.config import Config
from sightline.terminal.options import UsageError, configured, err, out, print_lines
from sightline.terminal.render import local_time, monitor_line, new_table
from sightline.terminal.signals import GRACE_SECONDS, stopping
from sightline.terminal.storage import print_storage
from sightline.wiring.deletion_copy import restore_noted_deletions
from sightline.wiring.existing_data import existing_transport
from sightline.wiring.lost_parts import check_parts
from sightline.wiring.monitoring import monitored
from sightline.wiring.parts import group_topics, opened_blobs, opened_transport
from sightline.wiring.storage import storage_lines
from sightline.wiring.unfinished import warn_of_unfinished
from streams.errors import Unavailable
from streams.feeds.credentials import check_credentials
from streams.feeds.group_member import FeedGroupMember
from streams.feeds.reader import LOSSLESS_RECORDS, FeedReader
from streams.feeds.roster import all_feeds, feed_record, removal_record
from streams.metrics import ProcessMetrics
from streams.plan import Plan
from streams.readiness.instruments import Instruments
from streams.readiness.instruments import instruments as process_instruments
from streams.readiness.unfinished_watch import UnfinishedWatch
from streams.sources.lag_backpressure import LagBackpressure
from streams.sources.source_choice import RemoteOptions
from streams.sources.url_guard import redacted
from streams.tasks import unless_stopped
from streams.transport import Transport

app = typer.Typer(no_args_is_help=True, help="Feeds: add, change, pause, remove and list them; `run` reads them.")


class Policy(StrEnum):
    """What happens when the plan falls behind."""

    LIVE = "live"
    LOSSLESS = "lossless"


@dataclass(frozen=True, slots=True)
class FeedOptions:
    """The settings of a feed that a person may give, under the names that `Feed` has for them."""

    policy: Annotated[
        Policy | None,
        typer.Option(help="When workers fall behind: live frames skip stages, a lossless source pauses."),
    ] = None
    frames_per_second: Annotated[float | None, typer.Option("--fps", help="Maximum frames per second.")] = None
    max_age_seconds: Annotated[
        float | None, typer.Option("--max-age", help="Age in seconds from which a live frame skips stages.")
    ] = None
    quality: Annotated[int | None, typer.Option(help="JPEG quality of video frames, 1 to 100.")] = None
    keyframes_only: Annotated[
        bool | None, typer.Option("--keyframes-only/--all-frames", help="Decode keyframes only.")
    ] = None
    loop: Annotated[
        bool | None, typer.Option("--loop/--once", help="Repeat a video without end, at its own speed.")
    ] = None

    def given(self) -> dict[str, Any]:
        """What was typed, as plain values."""
        typed = {name: value for name, value in asdict(self).items() if value is not None}
        return typed | ({"policy": self.policy.value} if self.policy is not None else {})


Name = Annotated[str, typer.Argument(help="The feed's name.")]
Source = Annotated[
    str,
    typer.Argument(
        help="Camera, video, folder or bucket. Write a password as ${NAME}, an environment variable of `feeds run`."
    ),
]
NewSource = Annotated[str | None, typer.Option(help="Read this source from now on.")]
Resume = Annotated[bool, typer.Option("--resume", help="Read the feed again.")]


def _checked(feed: Feed) -> Feed:
    """Raises UsageError for values that no source can use."""
    if feed.frames_per_second is not None and not 0 < feed.frames_per_second <= 1_000:
        raise UsageError("--fps: give a number above 0, at most 1000")
    if feed.max_age_seconds <= 0:
        raise UsageError("--max-age: give seconds above 0")
    if not 1 <= feed.quality <= 100:
        raise UsageError("--quality: give a number from 1 to 100")
    return feed


@app.command()
@configured
async def add(config: Config, name: Name, source: Source, options: FeedOptions) -> None:
    """Add a feed. A running `feeds run` starts reading it at once."""
    try:
        check_name("feed", name)
    except ValueError as error:
        raise UsageError(str(error)) from None
    changed = datetime.now(UTC)
    feed = Feed(tenant=config.tenant, feed=name, source=check_credentials(source), changed=changed, **options.given())
    async with opened_transport(config) as transport:
        if partition_key(config.tenant, name) in await all_feeds(transport):
            raise UsageError(f"feed {name} is there already; change it with `sightline feeds change {name}`")
        await transport.publish([feed_record(_checked(feed))])
    out.print(f"{name}: added")


@app.command()
@configured
async def change(config: Config, name: Name, options: FeedOptions, source: NewSource = None) -> None:
    """Change the given settings of a feed. Its reader restarts with them."""
    given = options.given() | ({} if source is None else {"source": check_credentials(source)})
    if not given:
        raise UsageError("nothing to change; `sightline feeds change --help` lists the settings")
    async with existing_transport(config) as transport:
        await _update(transport, config, name, given)
    out.print(f"{name}: changed")


@app.command()
@configured
async def pause(config: Config, name: Name, resume: Resume = False) -> None:  # noqa: FBT002 - a flag as typed
    """Stop reading a feed but keep it; --resume reads it again."""
    async with existing_transport(config) as transport:
        await _update(transport, config, name, {"paused": not resume})
    out.print(f"{name}: {'resumed' if resume else 'paused'}")


@app.command()
@configured
async def remove(config: Config, name: Name) -> None:
    """Remove a feed. The frames it delivered stay."""
    async with existing_transport(config) as transport:
        await _existing(transport, config, name)
        await transport.publish([removal_record(config.tenant, name)])
    out.print(f"{name}: removed")


@app.command("list")
@configured
async def list_(config: Config) -> None:
    """List the feeds with their settings."""
    async with existing_transport(config) as transport:
        feeds = [feed for feed in (await all_feeds(transport)).values() if feed.tenant == config.tenant]
    if not feeds:
        out.print("no feeds; add one with `sightline feeds add NAME SOURCE`")
        return
    table = new_table(("feed", "source", "policy", "fps", "changed", ""))
    for feed in sorted(feeds, key=lambda feed: feed.feed):
        policy = "lossless" if feed.policy == "lossless" else f"live, {feed.max_age_seconds:g} s"
        rate = "" if feed.frames_per_second is None else f"{feed.frames_per_second:g}"
        state = "paused" if feed.paused else ""
        changed = local_time(feed.changed, config.zone)
        table.add_row(feed.feed, _without_secrets(feed.source), policy, rate, changed, state)
    out.print(table)


@app.command()
@configured
async def run(config: Config) -> None:
    """Read feeds until Ctrl-C. Run it on several machines: they divide the feeds, and each feed has one reader."""
    stop = asyncio.Event()
    instruments = process_instruments(ProcessMetrics(CollectorRegistry()), "the group of feeds is not joined yet")
    async with monitored(config, instruments.health, instruments.metrics.registry) as monitor:
        err.print(monitor_line("reading feeds", monitor.url, config.serve.metrics_port))
        with stopping(stop.set, within=GRACE_SECONDS):
            await unless_stopped(stop, _read_feeds(config, instruments))


async def _read_feeds(config: Config, instruments: Instruments[ProcessMetrics]) -> None:
    """Until it is cancelled: then readers finish a write that has begun, and the group is left."""
    clock = instruments.clock
    async with opened_transport(config, instruments.retry) as transport, opened_blobs(config) as blobs:
        await restore_noted_deletions(config, transport, instruments.retry)
        check = partial(check_parts, config, transport, needed=("pictures",))
        print_lines(await instruments.retry.forever("broker", check, Unavailable))
        print_lines(await warn_of_unfinished(config, transport, instruments))
        print_storage(await storage_lines(config, blobs))
        watch = UnfinishedWatch(transport, clock, instruments.metrics, instruments.health)
        reader = FeedReader(
            transport=transport,
            blobs=blobs,
            clock=clock,
            backpressure=LagBackpressure(transport, group_topics(config), LOSSLESS_RECORDS, clock),
            environment=os.environ,
            remote=RemoteOptions(fetch=config.fetch),
            inline_limit_bytes=config.inline_limit_bytes,
            zone=config.zone,
        )
        watching = asyncio.create_task(watch.run(Plan(config.segments), config.worker.group))
        try:
            await FeedGroupMember(transport, reader, instruments).run()
        finally:
            watching.cancel()


async def _existing(transport: Transport, config: Config, name: str) -> Feed:
    feed = (await all_feeds(transport)).get(partition_key(config.tenant, name))
    if feed is None:
        raise UsageError(f"feed {name} does not exist; `sightline feeds list` shows all feeds")
    return feed


async def _update(transport: Transport, config: Config, name: str, values: dict[str, Any]) -> None:
    feed = replace(await _existing(transport, config, name), changed=datetime.now(UTC), **values)
    await transport.publish([feed_record(_checked(feed))])


def _without_secrets(source: str) -> str:
    return redacted(source) if "://" in source else source
