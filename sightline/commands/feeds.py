"""`sightline feeds`: sources that are read for as long as they stand in a topic, by whoever runs `feeds run`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from msgspec.structs import replace
from rich.table import Table

from schemas.events import Feed
from schemas.identity import check_name, partition_key
from sightline.config import Config
from sightline.terminal.options import UsageError, configured, err, out
from sightline.terminal.signals import stopping
from sightline.wiring.parts import opened_blobs, opened_transport
from streams.clock import SystemClock
from streams.feeds.credentials import checked
from streams.feeds.group_member import Sharing
from streams.feeds.reader import FeedReader
from streams.feeds.roster import all_feeds, removed, written
from streams.plan import Plan
from streams.sources.source_choice import RemoteOptions
from streams.sources.url_guard import redacted
from streams.transport import Transport

app = typer.Typer(no_args_is_help=True, help="Feeds: add, change, pause, remove, list; and run, which reads them.")


class Policy(StrEnum):
    """What happens when the plan falls behind."""

    LIVE = "live"
    LOSSLESS = "lossless"


Name = Annotated[str, typer.Argument(help="The feed's name.")]
Source = Annotated[
    str,
    typer.Argument(help="Camera, video, folder, bucket; write a password as ${NAME}, a variable where it is read."),
]
Kept = Annotated[
    Policy | None, typer.Option("--policy", help="live lets old frames pass stages by, lossless pauses the source.")
]
Fps = Annotated[float | None, typer.Option(help="The most frames per second that are accepted.")]
MaxAge = Annotated[float | None, typer.Option("--max-age", help="Seconds after which a live frame is too old.")]
Quality = Annotated[int | None, typer.Option(help="JPEG quality that video frames are kept in.")]
Keyframes = Annotated[bool | None, typer.Option("--keyframes-only/--all-frames", help="Decode keyframes alone.")]
Loop = Annotated[bool | None, typer.Option("--loop/--once", help="Play a video at its own speed, for ever.")]


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _checked(feed: Feed) -> Feed:
    """Raises UsageError for what no source could do."""
    if feed.frames_per_second is not None and not 0 < feed.frames_per_second <= 1_000:
        raise UsageError("--fps: give a number above 0, at most 1000")
    if feed.max_age_seconds <= 0:
        raise UsageError("--max-age: give seconds above 0")
    if not 1 <= feed.quality <= 100:
        raise UsageError("--quality: give a number from 1 to 100")
    return feed


@app.command()
@configured
async def add(
    config: Config,
    name: Name,
    source: Source,
    policy: Kept = None,
    fps: Fps = None,
    max_age: MaxAge = None,
    quality: Quality = None,
    keyframes_only: Keyframes = None,
    loop: Loop = None,
) -> None:
    """Add a feed; whoever runs `feeds run` begins to read it at once."""
    try:
        check_name("feed", name)
    except ValueError as error:
        raise UsageError(str(error)) from None
    given = _given(
        policy=policy and policy.value,
        frames_per_second=fps,
        max_age_seconds=max_age,
        quality=quality,
        keyframes_only=keyframes_only,
        loop=loop,
    )
    feed = Feed(tenant=config.tenant, feed=name, source=checked(source), changed=datetime.now(UTC), **given)
    async with opened_transport(config) as transport:
        if partition_key(config.tenant, name) in await all_feeds(transport):
            raise UsageError(f"{name} is there already; `sightline feeds change {name}` changes it")
        await transport.publish([written(_checked(feed))])
    out.print(f"{name}: added")


@app.command()
@configured
async def change(
    config: Config,
    name: Name,
    source: Annotated[str | None, typer.Option(help="Read this instead.")] = None,
    policy: Kept = None,
    fps: Fps = None,
    max_age: MaxAge = None,
    quality: Quality = None,
    keyframes_only: Keyframes = None,
    loop: Loop = None,
) -> None:
    """Change what is given; the source is read anew."""
    given = _given(
        source=None if source is None else checked(source),
        policy=policy and policy.value,
        frames_per_second=fps,
        max_age_seconds=max_age,
        quality=quality,
        keyframes_only=keyframes_only,
        loop=loop,
    )
    if not given:
        raise UsageError("nothing to change was given; `sightline feeds change --help` lists what can be")
    async with opened_transport(config) as transport:
        await _put(transport, config, name, given)
    out.print(f"{name}: changed")


@app.command()
@configured
async def pause(
    config: Config,
    name: Name,
    resume: Annotated[bool, typer.Option("--resume", help="Read it again.")] = False,  # noqa: FBT002 - a flag as typed
) -> None:
    """Stop reading a feed and keep it; --resume reads it again."""
    async with opened_transport(config) as transport:
        await _put(transport, config, name, {"paused": not resume})
    out.print(f"{name}: {'resumed' if resume else 'paused'}")


@app.command()
@configured
async def remove(config: Config, name: Name) -> None:
    """Read a feed no more and forget it; its frames stay."""
    async with opened_transport(config) as transport:
        await _known(transport, config, name)
        await transport.publish([removed(config.tenant, name)])
    out.print(f"{name}: removed")


@app.command("list")
@configured
async def list_(config: Config) -> None:
    """List the feeds."""
    async with opened_transport(config) as transport:
        feeds = [feed for feed in (await all_feeds(transport)).values() if feed.tenant == config.tenant]
    if not feeds:
        out.print("no feeds; `sightline feeds add NAME SOURCE` adds one")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("feed", "source", "policy", "fps", "changed", ""):
        table.add_column(title)
    for feed in sorted(feeds, key=lambda feed: feed.feed):
        policy = "lossless" if feed.policy == "lossless" else f"live, {feed.max_age_seconds:g} s"
        rate = "" if feed.frames_per_second is None else f"{feed.frames_per_second:g}"
        state = "paused" if feed.paused else ""
        table.add_row(feed.feed, _shown(feed.source), policy, rate, f"{feed.changed:%Y-%m-%d %H:%M}", state)
    out.print(table)


@app.command()
@configured
async def run(config: Config) -> None:
    """Read this process's share of the feeds, until Ctrl-C. Start as many as you like: each feed has one reader."""
    plan = Plan(config.segments)
    watched = {plan.group(config.worker.group, at): [plan.topic_into(at)] for at in range(len(plan.segments))}
    async with opened_transport(config) as transport, opened_blobs(config) as blobs:
        reader = FeedReader(
            transport=transport,
            blobs=blobs,
            clock=SystemClock(),
            watched=watched,
            environment=os.environ,
            remote=RemoteOptions(fetch=config.fetch),
            inline_limit_bytes=config.worker.inline_limit_bytes,
        )
        sharing = Sharing(transport, reader, SystemClock())
        err.print("reading feeds")
        with stopping(sharing.stop):
            await sharing.run()


async def _known(transport: Transport, config: Config, name: str) -> Feed:
    feed = (await all_feeds(transport)).get(partition_key(config.tenant, name))
    if feed is None:
        raise UsageError(f"there is no feed {name}; `sightline feeds list` names them")
    return feed


async def _put(transport: Transport, config: Config, name: str, given: dict[str, Any]) -> None:
    feed = replace(await _known(transport, config, name), changed=datetime.now(UTC), **given)
    await transport.publish([written(_checked(feed))])


def _shown(source: str) -> str:
    return redacted(source) if "://" in source else source
