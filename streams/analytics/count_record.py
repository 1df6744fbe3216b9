"""From a record of `frames.observed` to a count: what cannot be read is told and passed over, it counts nothing."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from schemas import cloudevents, codec
from schemas.errors import Undecodable
from streams.analytics.ledger import Ledger

log = structlog.get_logger()


def take(ledger: Ledger, value: bytes | None, headers: Mapping[str, bytes]) -> bool:
    """Whether it was counted. Raises NewerMajor: newer records are for a newer program."""
    try:
        observed = codec.decode_observed(value, headers)
        return ledger.observe(observed, cloudevents.required(headers, "ce_id"))
    except Undecodable as error:
        log.warning("observed_record_not_counted", reason=str(error))
        return False
