"""Ends records without a worker: each becomes a dead letter with one reason, as a worker would have written it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry

from schemas import topics
from streams.backends import Backends
from streams.lifecycle.deletions import Deletions
from streams.metrics import Metrics
from streams.transport import NewRecord, Record, TopicSpec
from streams.worker.frame_encoder import FrameEncoder
from streams.worker.in_flight import Death, InFlightFrame
from streams.worker.ingress import decode_record
from streams.worker.instruments import worker_instruments
from streams.worker.route import Router
from streams.worker.settings import WorkerSettings
from streams.worker.sinks import Sinks


class DeadRecords:
    """Points of the frames in `collections` are deleted before their letters are written; forgotten frames get none."""

    def __init__(
        self,
        backends: Backends,
        settings: WorkerSettings,
        specs: Mapping[str, TopicSpec],
        collections: Sequence[str],
        death: Death,
    ) -> None:
        instruments = worker_instruments(settings, Metrics(CollectorRegistry()))
        self._deletions, self._death = Deletions(backends.transport), death
        self._router, self._clock = Router((), {}), instruments.clock
        encoder = FrameEncoder(
            topic=topics.ENRICHED,
            is_last=True,
            model_set=settings.model_set,
            limits={name: spec.max_record_bytes for name, spec in specs.items()},
            inline_limit_bytes=settings.inline_limit_bytes,
            publish_embeddings=settings.publish_embeddings,
        )
        self._sinks = Sinks(encoder, backends, self._deletions, collections, instruments)

    async def convert(self, records: Sequence[Record]) -> Sequence[NewRecord]:
        """What is left to write with the records' commit: nothing, where the log cannot do both at once."""
        await self._deletions.catch_up()
        commits = await self._sinks.write([self._dead(record) for record in records])
        await self._sinks.flush()
        return [record for commit in commits for record in commit.outgoing]

    def _dead(self, record: Record) -> InFlightFrame:
        inflight = decode_record(record, self._router, ready_at=self._clock.monotonic(), repeated=False)
        inflight.death = inflight.death or self._death
        return inflight
