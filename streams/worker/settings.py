"""A worker's settings: `[worker]` of the configuration."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from schemas.zones import zone_named

Count = Annotated[int, Meta(ge=1)]
Bytes = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
Pause = Annotated[float, Meta(ge=0)]


class WorkerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bounds, deadlines and names of one worker. Raises ValueError with every contradiction at once."""

    name: str = ""
    """Name of the worker in every trace; empty is the host's name and the process id."""
    group: str = "sightline"
    """Consumer group; each segment adds the name of its first new stage, so that segments do not share offsets."""
    model_set: str = ""
    """Slug of the models, their revisions, fit and precision (`tiny-1a2b3c4d`); part of the collections' names."""
    device: str = "auto"
    """`auto` (CUDA where there is one), `cpu`, `cuda`, `cuda:1`; the wiring layer resolves `auto`."""

    batch_frames: Count = 16
    """Maximum frames in a batch."""
    batch_bytes: Bytes = 64 << 20
    """Maximum encoded originals in a batch; a single larger frame is a batch of its own."""
    batch_pixels: Count = 200_000_000
    """Maximum pixels of the pictures in a batch, which are decoded together: 16 of 12 megapixels. A single larger
    picture is a batch of its own. Decoded they take 3 bytes each, on a GPU for two batches at a time."""
    linger_seconds: Pause = 0.0
    """How long a batch that is not full may wait for more frames; 0 does not wait."""
    in_flight_frames: Count = 512
    """Maximum frames polled and not yet committed: bounds memory, and what a crash repeats."""
    in_flight_bytes: Bytes = 256 << 20
    """The same bound for the encoded originals of frames in flight."""
    cpu_threads: Count = 2
    """Threads of the `cpu` lane; a stage such as decode may use more inside."""

    commit_seconds: Seconds = 0.5
    """Time between commits. A flush of the index costs up to 100 ms, so several batches share one."""
    drain_seconds: Seconds = 20.0
    """The one deadline for finishing what is in flight, on a stop and on a rebalance alike."""
    stall_seconds: Seconds = 120.0
    """`/healthz` fails when nothing was committed for this long while there was work to do."""
    watch_seconds: Seconds = 1.0
    """Time between two readings of the event loop's delay, the lag and the GPU's memory."""

    backoff_seconds: Seconds = 0.1
    """The first pause after a transient failure; doubled each time, with jitter."""
    backoff_max_seconds: Seconds = 10.0
    """The longest pause between two attempts."""
    absent_seconds: Pause = 600.0
    """A frame whose original is still missing after this time is dead."""
    isolate_after: Count = 2
    """Starts without progress after which frames run singly; a frame that then ends the process is dead."""

    shed_first: tuple[str, ...] | None = None
    """Stages that a live feed's frame skips when it is older than `max_age_seconds`; at twice that age it skips all.
    Not given: the stages that declare to be expensive (of ours: caption, embed)."""
    timezone: str = ""
    """IANA name of the zone of EXIF dates that name none, in plain pictures of other producers; empty is `timezone` of
    the configuration."""
    inline_limit_bytes: Annotated[int, Meta(ge=0)] = 512 << 10
    """Originals up to this size travel inside internal events, where that saves a fetch: not with a folder of blobs
    beside the embedded log."""
    publish_embeddings: bool = False
    """Whether `frames.enriched` carries embeddings."""

    def __post_init__(self) -> None:
        wrong = []
        if self.batch_frames > self.in_flight_frames:
            wrong.append("batch_frames is larger than in_flight_frames: no batch would ever be full")
        if self.batch_bytes > self.in_flight_bytes:
            wrong.append("batch_bytes is larger than in_flight_bytes")
        if self.backoff_seconds > self.backoff_max_seconds:
            wrong.append("backoff_seconds is larger than backoff_max_seconds")
        if self.commit_seconds >= self.drain_seconds:
            wrong.append("drain_seconds leaves no time for a commit: make it larger than commit_seconds")
        try:
            zone_named(self.timezone)
        except ValueError as error:
            wrong.append(str(error))
        if wrong:
            raise ValueError("; ".join(wrong))
