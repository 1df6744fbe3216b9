"""Settings of what is kept: `[storage]` of the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct

from schemas.identity import check_name

Hours = Annotated[float, Meta(gt=0)]
Bytes = Annotated[int, Meta(ge=1)]

ROOM_SHARE = 1 / 32
"""Of a limit: so much is made free at once, so that not every pass removes a few pictures."""
GROWTH_SHARE = 1 / 4
"""Of a limit: so much at most is kept free for what is added until the next look."""


class FeedStorage(Struct, frozen=True, kw_only=True):
    """A feed's own limits; the limits of all feeds apply to it as well."""

    hours: Hours | None = None
    """How long the feed's pictures and points are kept; not set, as long as `storage.picture_hours`."""
    bytes: Bytes | None = None
    """Bytes of the feed's originals and thumbnails; beyond it the oldest are removed with their points. Not set, the
    feed shares `storage.picture_bytes` with the others."""


class StorageSettings(Struct, frozen=True, kw_only=True):
    """Budgets of disk and time. Raises ValueError with all contradictory values."""

    log_bytes: Bytes = 16 << 30
    """Bytes of the embedded log on the disk, with its write-ahead log. A full log drops finished records, oldest first,
    and refuses writes only when all records are unfinished. `max_bytes` in `transport` overrides it; a Kafka cluster
    has limits of its own."""
    log_hours: Hours = 168.0
    """How long frame topics keep records that every group of the plan has finished: the deadline of an erasure."""
    picture_bytes: Bytes | None = None
    """Bytes of all originals and thumbnails; beyond it the oldest are removed with their points, once their frames are
    finished. A picture that no record cites yet stays for ten minutes. Not set: no limit."""
    picture_hours: Hours | None = None
    """How long pictures and their points are kept; at least `storage.log_hours`. Not set: no limit."""
    index_bytes: Bytes | None = None
    """Bytes of the embedded index's folder at any time; beyond it the oldest points are removed with their pictures. A
    rebuild takes the size of the largest collection once more for some minutes, twice more from 50,000 points on, and
    that is kept free: points take about half of the limit, or a third. Not set: no limit."""
    feeds: dict[str, FeedStorage] = {}
    """`[storage.feeds.NAME]`: limits of one feed."""

    def __post_init__(self) -> None:
        if wrong := list(self._contradictions()):
            raise ValueError("; ".join(wrong))

    @property
    def limits_pictures(self) -> bool:
        """Whether any picture or point is ever removed for its age or for room."""
        own = any(feed.hours is not None or feed.bytes is not None for feed in self.feeds.values())
        return own or not (self.picture_bytes is self.picture_hours is self.index_bytes is None)

    def hours_of(self, feed: str) -> float | None:
        """How long the feed's pictures are kept; None: no limit."""
        own = self.feeds.get(feed)
        return self.picture_hours if own is None or own.hours is None else own.hours

    def _contradictions(self) -> Iterator[str]:
        limits = {"picture_hours": self.picture_hours}
        for name, feed in self.feeds.items():
            try:
                check_name("feed", name)
            except ValueError as error:
                yield str(error)
            limits[f"feeds.{name}.hours"] = feed.hours
            if feed.bytes is not None and self.picture_bytes is not None and feed.bytes > self.picture_bytes:
                yield (
                    f"feeds.{name}.bytes = {feed.bytes} is more than picture_bytes = {self.picture_bytes}, which holds"
                    " for all feeds together; lower it, or raise picture_bytes"
                )
        for key, hours in limits.items():
            if hours is not None and hours < self.log_hours:
                yield (
                    f"{key} = {hours:g} is less than log_hours = {self.log_hours:g}: events on the log would cite"
                    f" pictures that are gone; raise {key}, or lower log_hours"
                )
