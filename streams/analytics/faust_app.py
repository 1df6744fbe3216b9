"""Analytics on Faust: the ledger as an agent over `frames.observed`, with its table in a changelog topic.

Faust acknowledges an event whose processing raised, so nothing is raised inside the agent: records that cannot be
decoded are skipped, and any other error ends the process before the event is acknowledged. Events are processed one by
one (`take` acknowledges a batch that raised), topics are created beforehand, and the changelog is awaited before
offsets are committed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from typing import Any

import faust
import structlog
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Producer

from schemas.topics import OBSERVED
from streams.analytics.count_record import count_record
from streams.analytics.json_server import Counts
from streams.analytics.ledger import Ledger
from streams.analytics.ledger_view import LedgerView
from streams.analytics.settings import AnalyticsSettings
from streams.errors import Unavailable
from streams.kafka.aiokafka_internals.client import limit_metadata_requests
from streams.kafka.aiokafka_internals.fetcher import patch_consumer, readable_records
from streams.kafka.settings import KafkaSettings
from streams.kafka.transport import KafkaTransport
from streams.metrics import AnalyticsMetrics
from streams.readiness.probes import Probes
from streams.transport import TopicSpec

log = structlog.get_logger()
TABLE = "windows"
COMMIT_SECONDS = 0.5
BROKEN_STATUS = 70
"""EX_SOFTWARE: counting failed; a supervisor starts the process again."""


class _PausingProducer(Producer):  # type: ignore[misc]
    """Pauses between requests for metadata; Faust's producer does not while the broker is away."""

    async def on_start(self) -> None:
        await super().on_start()
        limit_metadata_requests(self._producer.client)


class _TolerantThread(AIOKafkaConsumerThread):  # type: ignore[misc]
    """Reads whatever other producers put on the topic, as the other readers do."""

    async def on_start(self) -> None:
        await super().on_start()
        patch_consumer(self._consumer, readable_records())


class _TolerantConsumer(Consumer):  # type: ignore[misc]
    def _new_consumer_thread(self) -> _TolerantThread:
        return _TolerantThread(self, loop=self.loop, beacon=self.beacon)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the app works: the counted topic's partitions, a folder for Faust, and the deployment's namespace."""

    partitions: int
    state_folder: str
    namespace: str = ""

    def named(self, name: str) -> str:
        """A topic or group as the cluster has it."""
        return f"{self.namespace}.{name}" if self.namespace else name


def changelog(settings: AnalyticsSettings, partitions: int) -> TopicSpec:
    """The table's changelog, with the name that Faust expects and the partitions of the counted topic."""
    return TopicSpec(f"{settings.group}-{TABLE}-changelog", partitions, compacted=True)


def make_app(settings: AnalyticsSettings, kafka: KafkaSettings, place: Place) -> faust.App:
    """The app, not started. Its topics must exist."""
    app = faust.App(
        place.named(settings.group),
        broker=[f"kafka://{host}" for host in kafka.bootstrap],
        broker_credentials=_credentials(kafka),
        broker_session_timeout=kafka.session_seconds,
        broker_heartbeat_interval=kafka.session_seconds / 4,
        broker_request_timeout=max(kafka.request_seconds, 2 * kafka.session_seconds),
        broker_commit_interval=COMMIT_SECONDS,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.instance or None,
        processing_guarantee="at_least_once",
        producer_acks=-1,
        store="memory://",
        datadir=place.state_folder,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=place.partitions,
        stream_wait_empty=True,
        table_standby_replicas=0,
        web_enabled=False,
    )
    app.transport.Producer, app.transport.Consumer = _PausingProducer, _TolerantConsumer
    return app


def counting(app: faust.App, settings: AnalyticsSettings, place: Place, metrics: AnalyticsMetrics) -> Ledger:
    """Add the table and the agent that fills it."""
    table = app.Table(TABLE, partitions=place.partitions, key_type=bytes, value_type=bytes)
    ledger = Ledger(table, settings)
    topic = place.named(OBSERVED)
    source = app.topic(topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(source)  # type: ignore[untyped-decorator]
    async def count(stream: Any) -> None:
        async for event in stream.events():
            _count_or_exit(ledger, event, metrics)

    return ledger


def showing(app: faust.App, ledger: Ledger, counts: Counts, kafka: KafkaSettings, place: Place) -> None:
    """Show the table in `counts` once it is complete, and tell when the cluster does not answer."""

    @app.task  # type: ignore[untyped-decorator]
    async def show() -> None:
        counts.view = LedgerView(ledger)
        measured = counts.measured
        measured.health.warmed()
        transport = KafkaTransport(kafka)
        try:
            await measured.retry.connect("broker", transport.open, Unavailable)
            await Probes(measured.clock, measured.retry).broker(transport, place.named(OBSERVED))
        finally:
            await transport.close()


def run(app: faust.App, loop: asyncio.AbstractEventLoop) -> None:
    """Run until SIGTERM or Ctrl-C, with logging as it is set up. Ends the process with Faust's status."""
    worker = faust.Worker(app, loop=loop, loglevel="warn", redirect_stdouts=False, override_logging=False)
    worker.execute_from_commandline()


def _count_or_exit(ledger: Ledger, event: Any, metrics: AnalyticsMetrics) -> None:
    try:
        metrics.count(counted=count_record(ledger, event.value, dict(event.headers or {})))
    except Exception as error:
        log.exception("count_failed", error=str(error))
        sys.stderr.flush()
        os._exit(BROKEN_STATUS)


def _credentials(kafka: KafkaSettings) -> Any:
    keys = kafka.client()
    if kafka.security.startswith("sasl"):
        return faust.SASLCredentials(
            username=kafka.username,
            password=kafka.password,
            ssl_context=keys.get("ssl_context"),
            mechanism=kafka.mechanism,
        )
    return faust.SSLCredentials(context=keys["ssl_context"]) if "ssl_context" in keys else None
