"""Errors of the stores, by what is done about them.

StoreError
├── StoreUnavailable   unreachable or failing: the worker waits, without losing its membership
│   └── StoreBlocked   the disk is full or may not be written: the same, but a command says so at once
│       └── Damaged    files of the store are damaged or lost: the same, until `sightline repair` has run
├── Refused            the store will never accept this (wrong size, NaN, zero vector): a bug or wrong weights
├── Missing            no such blob or collection (a frame whose bytes are absent for ten minutes is dead)
└── WrongLayout        an existing collection differs from the contract: refuse to start, naming the difference
"""

from __future__ import annotations

import errno
import os
from typing import Self


class StoreError(Exception):
    """Base of the stores' errors."""


class StoreUnavailable(StoreError):  # noqa: N818 - named for the state
    """The store cannot be reached or fails transiently; a retry may succeed."""


class StoreBlocked(StoreUnavailable):
    """The disk is full, or may not be written: retries help only once a person has acted."""

    @classmethod
    def at(cls, place: object, reason: str) -> Self:
        """Names the place, the reason and the way out."""
        is_full = reason in (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))
        return cls(f"{place}: {reason}; {'make room on its disk' if is_full else 'make it writable'}")


class Damaged(StoreBlocked):
    """Files of the store are damaged: the message names them and the way out."""


class Refused(StoreError):  # noqa: N818 - named for the state
    """The store, or our check before it, refuses the content permanently."""


class Missing(StoreError):  # noqa: N818 - named for the state
    """No such object."""


class WrongLayout(StoreError):  # noqa: N818 - named for the state
    """A collection exists with another layout than its contract."""


BLOCKING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
"""Numbers of the operating system's errors that no retry ends."""
BLOCKING_TEXTS = tuple(os.strerror(number) for number in sorted(BLOCKING))


def store_unavailable(place: object, error: Exception) -> StoreUnavailable:
    """StoreBlocked for a full or unwritable disk, StoreUnavailable for any other error; `place` says what failed.

    Libraries hand the operating system's error on as text alone.
    """
    if isinstance(error, OSError) and error.errno in BLOCKING:
        return StoreBlocked.at(place, os.strerror(error.errno))
    if reason := next((text for text in BLOCKING_TEXTS if text in str(error)), None):
        return StoreBlocked.at(place, reason)
    return StoreUnavailable(f"{place}: {error or type(error).__name__}")
