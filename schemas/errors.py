"""Errors in records, by what is done about them.

SchemaError
├── Undecodable   the record is dead at once, under `reason`; it never stops a worker
├── NewerMajor    a newer Sightline's major version: the worker stops, unready, and leaves the topic as it is
└── Unencodable   an event of our own must not be written (NaN, wrong vector): its frame is dead under `reason`

Reasons are short slugs, few enough to be metric labels: `empty`, `too_large`, `too_deep`, `malformed`,
`wrong_type`, `not_finite`, `wrong_id`, `wrong_name`, `wrong_vector`, `wrong_result`, `missing_header`,
`wrong_header`, `unknown_content_type`, `unknown_version`, `not_a_picture`, `unreadable_batch`.
"""

from __future__ import annotations


class SchemaError(Exception):
    """Base of the contracts' errors."""


class Undecodable(SchemaError):  # noqa: N818 - named for the state
    """The record can never be decoded. `reason` is a slug; the message is for people and quotes no content."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Unencodable(SchemaError):  # noqa: N818 - named for the state
    """The event violates its contract and must not be written. `reason` is a slug."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NewerMajor(SchemaError):  # noqa: N818 - named for the state
    """The record's major version is newer than this reader's."""

    def __init__(self, version: int) -> None:
        super().__init__(f"the record has major version {version}: update this worker; the topic is left as it is")
        self.version = version
