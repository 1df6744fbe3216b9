"""aiokafka's errors as the runtime's: by what is done about them."""

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
"""After these a producer never works again: a new one has to be built."""

ENDED = (
    errors.CommitFailedError,
    errors.IllegalGenerationError,
    errors.UnknownMemberIdError,
    errors.RebalanceInProgressError,
    errors.IllegalStateError,
)
"""The group has gone on without this assignment."""

AWAY = (
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
    """The runtime's error for `error`; None where it is a mistake of ours or of the configuration (authorisation)."""
    if isinstance(error, ENDED):
        return Fenced(str(error))
    if isinstance(error, (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)):
        return TooLarge(str(error))
    if isinstance(error, (*AWAY, TimeoutError, OSError)) or getattr(error, "retriable", False):
        return Unavailable(f"the Kafka cluster cannot be used now: {error or type(error).__name__}")
    return None


@contextmanager
def translated() -> Iterator[None]:
    """Raise the runtime's errors for aiokafka's."""
    try:
        yield
    except StreamError:
        raise
    except Exception as error:
        if (ours := translate(error)) is None:
            raise
        raise ours from error


def consume_exception(future: asyncio.Future[Any]) -> None:
    """A callback for one that nobody may await: asyncio prints errors that were not heard."""
    if not future.cancelled():
        future.exception()
