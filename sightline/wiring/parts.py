"""Opens transport, index and blobs as the configuration says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import structlog

from schemas import topics
from sightline.config import Config
from sightline.config_parser import ConfigError
from sightline.wiring.deletion_copy import restore_deletions, restore_noted_deletions
from sightline.wiring.lost_log import check_log
from stores.blobs import BlobStore
from stores.index import Index
from stores.namespaced import NamespacedIndex
from stores.open import open_blobs, open_index
from streams.errors import Unavailable
from streams.namespaced import NamespacedTransport
from streams.plan import Plan
from streams.retry import SLOW_SECONDS, Retry
from streams.transport import TopicSpec, Transport
from streams.url_options import with_default

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Parts:
    """What every long-running command needs, opened."""

    config: Config
    plan: Plan
    transport: Transport
    index: Index
    blobs: BlobStore


def make_transport(config: Config, *, as_is: bool = False) -> Transport:
    """A transport that is not opened yet; `as_is`, it drops nothing. Raises ConfigError, naming what is allowed."""
    transport = _plain_transport(config, upkeep=not as_is)
    return NamespacedTransport(transport, config.namespace) if config.namespace else transport


def _plain_transport(config: Config, *, upkeep: bool) -> Transport:
    url = config.transport_url
    if url.startswith("sqlite:"):
        from streams.sqlite.transport import SqliteTransport

        try:
            config.data_path.mkdir(parents=True, exist_ok=True)
            return SqliteTransport.from_url(with_default(url, "max_bytes", config.storage.log_bytes), upkeep=upkeep)
        except OSError as error:
            raise ConfigError([f"data = {config.data!r}: {error.strerror}"]) from None
        except ValueError as error:
            raise ConfigError([f"transport: {error}"]) from None
    if url.startswith("kafka:"):
        from streams.kafka.transport import KafkaTransport

        try:
            return KafkaTransport.from_url(url)
        except ValueError as error:
            raise ConfigError([f"transport: {error}"]) from None
    raise ConfigError([f"transport = {url!r}: use sqlite:///PATH (the embedded log) or kafka://HOST:PORT"])


def declared_topics(config: Config, plan: Plan) -> list[TopicSpec]:
    """Every topic of this deployment, as the transport creates it."""
    between = [plan.new_stages(number)[0] for number in range(1, len(plan.segments))]
    finishers = {topic: group for group, topics_read in group_topics(config).items() for topic in topics_read}
    declared = topics.declared(
        partitions=config.partitions, between_stages=between, retention_seconds=config.storage.log_hours * 3600
    )
    return [
        TopicSpec(
            name=topic.name,
            partitions=topic.partitions,
            compacted=topic.compacted,
            retention_seconds=topic.retention_seconds,
            retention_bytes=topic.retention_bytes,
            max_record_bytes=topic.max_record_bytes,
            finished_by=(finishers[topic.name],) if topic.name in finishers else (),
        )
        for topic in declared
    ]


def group_topics(config: Config) -> dict[str, list[str]]:
    """The consumer group of each segment, with the topics that it reads."""
    plan = Plan(config.segments)
    numbers = range(len(plan.segments))
    return {plan.group(config.worker.group, number): [plan.topic_into(number)] for number in numbers}


@asynccontextmanager
async def connected_transport(config: Config, *, as_is: bool = False) -> AsyncIterator[Transport]:
    """The transport, whatever topics it has; closed at the end. See `make_transport` for `as_is`."""
    async with unopened_transport(config, as_is=as_is) as transport:
        with _told_when_slow():
            await transport.open()
        yield transport


@asynccontextmanager
async def unopened_transport(config: Config, *, new_log: bool = False, as_is: bool = False) -> AsyncIterator[Transport]:
    """A transport that is closed at the end; until it is opened its calls raise Unavailable.

    See `make_transport` for `as_is`. Raises Missing for an embedded log that is gone, unless `new_log` may take its
    place.
    """
    if not new_log:
        check_log(config)
    transport = make_transport(config, as_is=as_is)
    try:
        yield transport
    finally:
        await transport.close()


@asynccontextmanager
async def opened_transport(
    config: Config, retry: Retry | None = None, *, as_is: bool = False
) -> AsyncIterator[Transport]:
    """The transport with every topic created. Raises PlanError, naming how an existing topic differs.

    A log that is away is waited for with `retry`; without it, as long as one request may take. `as_is`, for commands
    that read: existing topics keep their limits, and nothing is dropped.
    """
    async with unopened_transport(config, as_is=as_is) as transport:
        await open_with_topics(transport, config, retry, as_is=as_is)
        yield transport


async def open_with_topics(transport: Transport, config: Config, retry: Retry | None, *, as_is: bool = False) -> None:
    """See `opened_transport`."""
    create = partial(_create, transport, config, as_is=as_is)
    if retry is None:
        with _told_when_slow():
            await transport.open()
            await create()
    else:
        await retry.connect("broker", partial(_open_once, transport), Unavailable)
        await retry.connect("broker", create, Unavailable)
    await restore_deletions(config, transport)


async def _create(transport: Transport, config: Config, *, as_is: bool) -> None:
    declared = declared_topics(config, Plan(config.segments))
    existing = await transport.topics() if as_is else {}
    await transport.create([_with_limits_of(existing.get(spec.name, spec), spec) for spec in declared])


def _with_limits_of(existing: TopicSpec, spec: TopicSpec) -> TopicSpec:
    return replace(
        spec,
        retention_seconds=existing.retention_seconds,
        retention_bytes=existing.retention_bytes,
        max_record_bytes=existing.max_record_bytes,
        finished_by=existing.finished_by,
    )


@contextmanager
def _told_when_slow() -> Iterator[None]:
    """A log that is away is waited for as long as a request may take: a person should know that it is waited for."""
    reason = f"no answer in {SLOW_SECONDS:g} s yet"
    slow = asyncio.get_running_loop().call_later(SLOW_SECONDS, partial(log.warning, "waits", what="broker", why=reason))
    try:
        yield
    finally:
        slow.cancel()


async def _open_once(transport: Transport) -> None:
    try:
        await transport.open(wait_seconds=0.0)
    except Unavailable:
        await transport.close()
        raise


@asynccontextmanager
async def opened_index(config: Config) -> AsyncIterator[Index]:
    try:
        index = open_index(config.index_url)
    except ValueError as error:
        raise ConfigError([str(error)]) from None
    try:
        yield NamespacedIndex(index, config.namespace) if config.namespace else index
    finally:
        await index.close()


@asynccontextmanager
async def opened_blobs(config: Config) -> AsyncIterator[BlobStore]:
    try:
        blobs = open_blobs(config.blobs_url)
    except ValueError as error:
        raise ConfigError([str(error)]) from None
    try:
        yield blobs
    finally:
        await blobs.close()


@asynccontextmanager
async def opened(
    config: Config, retry: Retry | None = None, *, new_log: bool = False, as_is: bool = False
) -> AsyncIterator[Parts]:
    """Transport, index and blobs; closed in reverse order, on errors too.

    See `opened_transport` for `retry` and `as_is`, `unopened_transport` for `new_log`.
    """
    async with unopened(config, new_log=new_log, as_is=as_is) as parts:
        await open_with_topics(parts.transport, config, retry, as_is=as_is)
        await restore_noted_deletions(config, parts.transport, retry)
        yield parts


@asynccontextmanager
async def unopened(config: Config, *, new_log: bool = False, as_is: bool = False) -> AsyncIterator[Parts]:
    """As `opened`, with a transport that is not opened yet."""
    async with AsyncExitStack() as stack:
        transport = await stack.enter_async_context(unopened_transport(config, new_log=new_log, as_is=as_is))
        index = await stack.enter_async_context(opened_index(config))
        blobs = await stack.enter_async_context(opened_blobs(config))
        yield Parts(config, Plan(config.segments), transport, index, blobs)
