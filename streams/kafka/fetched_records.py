"""What a consumer with `raw_records` fetched, as runs of records, which are made when they are handed out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from streams.kafka.fair_buffer import Run
from streams.kafka.record_batches import WHOLE_BATCHES, RecordRun, as_record
from streams.transport import Partition, Record


def runs(partition: Partition, epoch: int, fetched: Sequence[Any]) -> list[Run[Record]]:
    """Whole batches are runs of their own; records of older formats between them make one."""
    result: list[Run[Record]] = []
    for is_batch, group in groupby(fetched, lambda one: type(one) in WHOLE_BATCHES):
        if is_batch:
            result.extend(batch.bind(partition, epoch) for batch in group)
        else:
            records = list(group)
            result.append(RecordRun((as_record(partition, epoch, record) for record in records), len(records)))
    return result
