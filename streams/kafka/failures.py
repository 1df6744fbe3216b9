"""aiokafka's errors as the runtime's, by what is done about them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import errors

from streams.errors import Fenced, Forbidden, StreamError, TooLarge, Unavailable

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


@dataclass(frozen=True, slots=True)
class Access:
    """What a request is about: the broker names the kind of the missing right alone."""

    right: str = "Read"
    """Wanted on `topics`."""
    topics: Iterable[str] = ()
    group: str = ""
    transactional_id: str = ""


def translate(error: BaseException, access: Access) -> StreamError | None:
    """The runtime's error for `error`; None for a programming error."""
    if (refusal := _refusal(error, access)) is not None:
        return Forbidden(refusal)
    if isinstance(error, ENDED):
        return Fenced(str(error))
    if isinstance(error, (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)):
        return TooLarge(str(error))
    if isinstance(error, (*UNAVAILABLE, TimeoutError, OSError)) or getattr(error, "retriable", False):
        return Unavailable(f"the Kafka cluster is unavailable: {error or type(error).__name__}")
    return None


def _refusal(error: BaseException, access: Access) -> str | None:
    """What the broker denies, if it does."""
    if isinstance(error, errors.TopicAuthorizationFailedError):
        return missing_right(access.right, f"topic {', '.join(sorted(_named(error) or access.topics)) or '(any)'}")
    if isinstance(error, errors.GroupAuthorizationFailedError):
        return missing_right("Read", f"group {access.group or ', '.join(_named(error))}")
    if isinstance(error, errors.TransactionalIdAuthorizationFailed):
        return missing_right("Write", f"transactional id {access.transactional_id or ', '.join(_named(error))}")
    if isinstance(error, errors.ClusterAuthorizationFailedError):
        return missing_right("IdempotentWrite", "the cluster")
    if isinstance(error, errors.InconsistentGroupProtocolError):
        return (
            f"another program is a member of group {access.group}, with another protocol: stop it, or use another name"
            " for this deployment's groups"
        )
    return None


def missing_right(right: str, resource: str) -> str:
    """One line that names it."""
    return f"the broker denies the right {right} on {resource}; docs/kafka.md lists the rights of every command"


def _named(error: errors.KafkaError) -> list[str]:
    """The names that aiokafka gives an error: one, or a collection."""
    return [
        name for given in error.args for name in ([given] if isinstance(given, str) else given) if isinstance(name, str)
    ]


@contextmanager
def translated(access: Access | None = None) -> Iterator[None]:
    """Raise the runtime's errors for aiokafka's; `access` is what was asked for."""
    try:
        yield
    except StreamError:
        raise
    except Exception as error:
        if (translation := translate(error, access or Access())) is None:
            raise
        raise translation from error


def consume_exception(future: asyncio.Future[Any]) -> None:
    """A done callback for a future that may never be awaited: asyncio prints exceptions that were not retrieved."""
    if not future.cancelled():
        future.exception()
