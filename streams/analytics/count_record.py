"""Counts records of `frames.observed`. A record that cannot be decoded is logged and skipped."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from schemas import cloudevents, codec
from schemas.errors import Undecodable
from streams.analytics.ledger import Ledger

log = structlog.get_logger()


def count_record(ledger: Ledger, value: bytes | None, headers: Mapping[str, bytes]) -> bool:
    """Count a record. Returns whether it was counted. Raises NewerMajor: a newer program has to read the record."""
    try:
        observed = codec.decode_observed(value, headers)
        return ledger.observe(observed, cloudevents.required(headers, "ce_id"))
    except Undecodable as error:
        log.warning("observed_record_not_counted", reason=str(error))
        return False
