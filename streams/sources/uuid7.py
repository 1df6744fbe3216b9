"""Names of live sessions: the time from one connection to a live source until it is lost."""

from __future__ import annotations

import secrets
from uuid import UUID


def uuid7(now_seconds: float) -> str:
    """A UUIDv7 (RFC 9562, 5.7): milliseconds since 1970, then random bits; later ones sort later."""
    milliseconds = int(now_seconds * 1_000) & (1 << 48) - 1
    head = milliseconds << 16 | 0x7000 | secrets.randbits(12)
    return str(UUID(int=head << 64 | 0b10 << 62 | secrets.randbits(62)))
