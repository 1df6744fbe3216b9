"""Time zones by their names."""

from __future__ import annotations

from zoneinfo import ZoneInfo


def zone_named(name: str) -> ZoneInfo | None:
    """The zone with an IANA name (`Europe/Berlin`); None, the machine's own, for an empty one. Raises ValueError."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"timezone {name!r} is unknown; use a name such as Europe/Berlin or UTC") from None
