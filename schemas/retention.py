"""What is kept of pictures and points: the events on `kept` and `trimmed`."""

from __future__ import annotations

from schemas.events import MAJOR_VERSION, Event, Utc


class Kept(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A frame whose picture and points retention never removes (`kept`, compacted, key: the frame id).

    A tombstone ends it. A deletion takes the frame all the same.
    """

    frame: str
    tenant: str
    feed: str
    since: Utc
    """When it was asked for."""
    reason: str = ""
    uris: tuple[str, ...] = ()
    """Blobs of the frame."""
    version: int = MAJOR_VERSION


class Trimmed(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Up to when retention has removed a feed's pictures and points (`trimmed`, compacted, key: `tenant/feed`)."""

    tenant: str
    feed: str
    before: Utc
    """Pictures of frames that were ingested before this moment may be gone; later ones are not."""
    version: int = MAJOR_VERSION
