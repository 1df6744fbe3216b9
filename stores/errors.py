"""Errors of the stores, by what is done about them.

StoreError
├── StoreUnavailable   unreachable or failing: the worker waits, without losing its membership
├── Refused            the store will never accept this (wrong size, NaN, zero vector): a bug or wrong weights
├── Missing            no such blob or collection (a frame whose bytes are absent for ten minutes is dead)
└── WrongLayout        an existing collection differs from the contract: refuse to start, naming the difference
"""


class StoreError(Exception):
    """Base of the stores' errors."""


class StoreUnavailable(StoreError):  # noqa: N818 - named for the state
    """The store cannot be reached or fails transiently; a retry may succeed."""


class Refused(StoreError):  # noqa: N818 - named for the state
    """The store, or our check before it, refuses the content permanently."""


class Missing(StoreError):  # noqa: N818 - named for the state
    """No such object."""


class WrongLayout(StoreError):  # noqa: N818 - named for the state
    """A collection exists with another layout than its contract."""
