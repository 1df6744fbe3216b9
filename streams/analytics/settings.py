"""Settings of analytics: `[analytics]` of the configuration."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class AnalyticsSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Length and lifetime of windows, and thresholds of a feed's health. Raises ValueError for contradictory values."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 8010
    """Port of the JSON API for counts and health, on `serve.host`; 0 takes a free one."""
    group: str = "sightline-analytics"
    """Consumer group; on Kafka also the name of the changelog."""
    instance: str = ""
    """Name of this process among several, so that it takes over its partitions at once after a crash (Kafka)."""
    window_seconds: Annotated[int, Meta(ge=1)] = 60
    """Length of a window."""
    grace_seconds: Seconds = 600.0
    """How long after its end a window still accepts late events and remembers which ones it has counted."""
    kept_hours: Annotated[float, Meta(gt=0)] = 24.0
    """How long closed windows are kept."""
    silent_seconds: Seconds = 60.0
    """A feed without a finished frame for this long is reported as silent."""
    dark_below: Share = 0.04
    """Mean luminance under which a picture is dark."""
    frozen_below: Share = 0.0005
    """Mean difference to the last kept frame under which nothing changes; a still camera's noise makes 0.0016."""
    hold_seconds: Seconds = 30.0
    """A feed is reported as dark or frozen once it has been so for this long."""

    def __post_init__(self) -> None:
        if self.kept_hours * 3600 < self.window_seconds + self.grace_seconds:
            raise ValueError("kept_hours is shorter than window_seconds + grace_seconds; raise it")
