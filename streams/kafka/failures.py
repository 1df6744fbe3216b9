"""aiokafka's errors as the runtime's, by what is done about them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiokafka import errors

from streams.errors import Fenced, StreamError, TooLarge, Unavailable

FATAL_TO_PRODUCER = (
    errors.ProducerFenced,
    errors.ProducerClosed,
    errors.OutOfOrderSequenceNumber,
    errors.InvalidProducerEpoch,
    errors.InvalidProducerIdMapping,
    errors.UnknownProducerId,
    errors.IllegalOperation,
)
"""After one of these a producer never works again: a new one has to be built."""

ENDED = (
    errors.CommitFailedError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.RebalanceInProgressError,
    errors.IllegalStateError,
)
"""The group has gone on without this assignment."""

UNAVAILABLE = (
    errors.KafkaConnectionError,
    errors.KafkaTimeoutError,
    errors.NodeNotReadyError,
    errors.NoBrokersAvailable,
    errors.KafkaUnavailableError,
    errors.StaleMetadata,
    errors.ConsumerStoppedError,
    *FATAL_TO_PRODUCER,
)


def translate(error: BaseException) -> StreamError | None:
    """The runtime's error for `error`; None for a programming error or a wrong configuration (authorization)."""
    if isinstance(error, ENDED):
        return Fenced(str(error))
    if isinstance(error, (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)):
        return TooLarge(str(error))
    if isinstance(error, (*UNAVAILABLE, TimeoutError, OSError)) or getattr(error, "retriable", False):
        return Unavailable(f"the Kafka cluster is unavailable: {error or type(error).__name__}")
    return None


@contextmanager
def translated() -> Iterator[None]:
    """Raise the runtime's errors for aiokafka's."""
    try:
        yield
    except StreamError:
        raise
    except Exception as error:
        if (translation := translate(error)) is None:
            raise
        raise translation from error


def consume_exception(future: asyncio.Future[Any]) -> None:
    """A done callback for a future that may never be awaited: asyncio prints exceptions that were not retrieved."""
    if not future.cancelled():
        future.exception()
