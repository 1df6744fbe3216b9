"""The contracts on the wire: what a frame is, and what is known of it.

Every type is frozen. Boxes are `x1, y1, x2, y2` in pixels of the upright original (EXIF applied), times are
timezone-aware UTC, embeddings are little-endian float32 bytes. New fields are added with a default, so an old
record always decodes; a field is never renamed or given another meaning within one major version.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

MAJOR_VERSION = 1
"""A reader that receives a newer major version stops instead of dead-lettering a good topic."""

Kind = Literal["still", "frame"]
Format = Literal["jpeg", "png", "webp", "gif", "heic", "heif", "avif"]
"""How an original is encoded. Later versions may read more formats."""
Utc = Annotated[datetime, Meta(tz=True)]
"""A time with its zone: a time without one is refused when a record is decoded."""
Box = tuple[float, float, float, float]


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of every value type below: frozen, keyword arguments only, defaults omitted on the wire."""


class ImageRef(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Where a frame's original is and what it is; `uri` is a `blob:` URI inside the tenant's prefix."""

    format: Format
    sha256: str
    """Hash of the original, in hexadecimal."""
    size_bytes: int
    width: int = 0
    """Pixels of the upright original; 0 until its header is read."""
    height: int = 0
    uri: str = ""
    thumbnail: str = ""
    """`blob:` URI of the thumbnail; empty: there is none."""
    quality: int = 0
    """JPEG quality with which a source encoded it; 0 if the source passed the bytes on unchanged."""
    inline: bytes | None = None
    """The original's bytes, on internal topics only and up to `inline_limit_bytes`."""


class Embedding(Event, frozen=True, kw_only=True, omit_defaults=True):
    """One vector: `vector` holds `dimension` little-endian float32 numbers of unit length."""

    name: str
    """The named vector of the collection: `semantic` or `visual`."""
    model: str
    dimension: int
    vector: bytes


class Detection(Event, frozen=True, kw_only=True, omit_defaults=True):
    label: str
    confidence: float
    """0 to 1."""
    box: Box
    track: str = ""
    """Stable within a feed while the object is followed; empty when the frame was not tracked."""


class Mask(Event, frozen=True, kw_only=True, omit_defaults=True):
    """COCO run-length encoding, column-major, at the resolution `height` × `width`."""

    counts: bytes
    height: int
    width: int


class Label(Event, frozen=True, kw_only=True, omit_defaults=True):
    name: str
    probability: float
    threshold: float = 0.0
    """The label applies from this probability."""
    policy: str = ""
    """Revision of the policy that the threshold comes from."""


class Region(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A part of the frame with an id, a point and words of its own."""

    id: str
    source: Literal["detection", "segment", "track"]
    box: Box
    mask: Mask | None = None
    parent: str = ""
    """Id of the region that contains it; empty: none."""
    caption: str = ""
    label: str = ""
    attributes: dict[str, str] = {}
    embeddings: tuple[Embedding, ...] = ()


class Caption(Event, frozen=True, kw_only=True, omit_defaults=True):
    text: str
    model: str
    """Model and revision, as `blip@1f5ff6e46b1c`."""
    prompt: str = ""
    role: str = "scene"
    """What is described: `scene` is the whole picture."""


class Keywords(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Words of captions: `simple` ("circle") and `compound` ("red circle")."""

    simple: tuple[str, ...] = ()
    compound: tuple[str, ...] = ()


class Answer(Event, frozen=True, kw_only=True, omit_defaults=True):
    question: str
    text: str
    probability: float = 0.0
    model: str = ""


class RecognizedText(Event, frozen=True, kw_only=True, omit_defaults=True):
    text: str
    box: Box
    confidence: float = 0.0


class Refinement(Event, frozen=True, kw_only=True, omit_defaults=True):
    """What the refine stage did to the caption, and the score before and after."""

    text: str
    before: float = 0.0
    after: float = 0.0
    dropped: tuple[str, ...] = ()
    added: tuple[str, ...] = ()


class Moderation(Event, frozen=True, kw_only=True, omit_defaults=True):
    verdict: Literal["allow", "review", "block"]
    policy: str
    """Revision of the policy."""
    reasons: tuple[str, ...] = ()


class Skipped(Event, frozen=True, kw_only=True, omit_defaults=True):
    stage: str
    reason: str
    """A slug: `gate:static`, `shed`, `requires:FIELD`."""


class TraceEntry(Event, frozen=True, kw_only=True, omit_defaults=True):
    """One completed stage: its model, the frame's times in the queue and in computation, and the size of its batch."""

    stage: str
    worker: str
    model: str = ""
    revision: str = ""
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0
    batch_size: int = 1


# Positional arguments are for `processors.frame` alone, which makes two of these per record: they save a sixth of the
# time.
class FrameEvent(Event, frozen=True, omit_defaults=True):
    """One frame in any state between accepted and enriched (`frames.raw` … `frames.enriched`)."""

    id: str
    """UUIDv5 of tenant, feed and position."""
    tenant: str
    feed: str
    kind: Kind
    """`frame` of a video or camera, or `still`."""
    position: str
    """The frame's position in its source, as `schemas.identity` writes it; the id is made from it."""
    ingested: Utc
    """When the frame was accepted."""
    image: ImageRef
    captured: Utc | None = None
    """When the picture was taken; null: unknown."""
    published: Utc | None = None
    """When this event was written."""
    model_set: str = ""
    """Slug of the models that made the vectors; names the collections."""
    detections: tuple[Detection, ...] = ()
    regions: tuple[Region, ...] = ()
    captions: tuple[Caption, ...] = ()
    keywords: Keywords | None = None
    answers: tuple[Answer, ...] = ()
    texts: tuple[RecognizedText, ...] = ()
    labels: tuple[Label, ...] = ()
    refinement: Refinement | None = None
    embeddings: tuple[Embedding, ...] = ()
    """Left out on `frames.enriched`, unless `worker.publish_embeddings` is set."""
    moderation: Moderation | None = None
    results: dict[str, Any] = {}
    """Results of stages without a field of their own, by stage, each with a registered schema."""
    skipped: tuple[Skipped, ...] = ()
    """Skipped stages, with the reason."""
    trace: tuple[TraceEntry, ...] = ()
    """Completed stages, in order."""
    max_age_seconds: float = 0.0
    """For a live feed: a frame older than this (since captured, else ingested) skips the expensive stages as `shed`,
    and all stages at twice the age; 0: never."""
    origin: str = ""
    """Path or URL of the file, object or camera that it comes from, without credentials; empty: unknown."""
    version: int = MAJOR_VERSION


class DeadLetter(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A record that could not be processed: why, where, and the original record or its reference.

    `value`, `key` and `headers` are the original record's; a replay publishes them to `topic` again. `value` is
    None only when it exceeded the transport's limit; then `uri` names the blob that holds it.
    """

    id: str
    """The frame's id, or the id made of topic, partition and offset when the frame is unknown."""
    tenant: str
    feed: str
    stage: str
    """Where the frame died: a stage, or a part of the runtime (`codec`, `original`, `publish`, `index`, `worker`)."""
    reason: str
    """A short slug (`unreadable_image`, `crashed_worker`), used as metric label."""
    message: str
    died: Utc
    """When the letter was written."""
    topic: str
    """Topic, partition and offset of the original record."""
    partition: int
    offset: int
    key: bytes
    headers: dict[str, bytes] = {}
    value: bytes | None = None
    uri: str = ""
    origin: str = ""
    """Path or URL that the frame comes from, as in its event; empty: unknown."""
    version: int = MAJOR_VERSION


class Observed(Event, frozen=True, kw_only=True, omit_defaults=True):
    """One terminal state, for analytics (`frames.observed`): JSON under 1 KB, never the frame itself."""

    frame: str
    tenant: str
    feed: str
    kind: Kind
    state: Literal["enriched", "dead", "shed"]
    """The terminal state; `shed` is counted for frames that were dropped before they were accepted."""
    published: Utc
    captured: Utc | None = None
    reason: str = ""
    labels: dict[str, int] = {}
    """Detections by label."""
    skipped: dict[str, str] = {}
    """Reason by skipped stage."""
    luminance: float | None = None
    """The gate's mean luminance, 0 to 1."""
    difference: float | None = None
    """The gate's mean absolute difference to the feed's last kept frame, 0 to 1."""
    count: int = 1
    """Frames that this record stands for."""
    version: int = MAJOR_VERSION


class Deletion(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A frame that every sink, replay and reprocess must forget (`deletions`, compacted, key: the frame id).

    Written again, with `erased`, when its blobs are gone or another frame is known to need them.
    """

    frame: str
    tenant: str
    feed: str
    requested: Utc
    """When the erasure was requested."""
    reason: str = ""
    uris: tuple[str, ...] = ()
    """Blobs of the frame, as far as the request knows them; the others are looked up on the topics."""
    erased: Utc | None = None
    """When the blobs were erased; null: not yet."""
    requests: dict[str, str] = {}
    """The requests that meant the frame, in order: by id, the SHA-256 of what each selected, in hexadecimal."""
    version: int = MAJOR_VERSION


class Recording(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A video file as it was read once. A later, longer file that begins with the same packets is the same recording.

    `root` is the hash in the positions of its frames: that of the first reading, when the file may have been shorter.
    """

    sha256: str
    """Hash of the whole file, in hexadecimal."""
    root: str
    packets: int = 0
    """Packets of the film that `digest` covers: all but the last ones, which may not have been whole."""
    digest: bytes = b""
    """SHA-256 of their time stamps and contents."""


class Accepted(Event, frozen=True, kw_only=True, omit_defaults=True):
    """Frames of one feed that are on `frames.raw` (`sources.accepted`): a second ingest reads them, adds nothing."""

    tenant: str
    feed: str
    frames: bytes
    """Ids, 16 bytes each."""
    pictures: bytes = b""
    """SHA-256 of the frames' originals, 32 bytes each, in the same order; empty: unknown."""
    day: str = ""
    """The day in the names of these originals' blobs; empty: unknown."""
    recording: Recording | None = None
    """A video file whose frames follow; such a record lists no ids."""
    lost: str = ""
    """A frame (its id) that the next ingest of its source makes whole again, though it was accepted; such a record
    lists no ids, and a tombstone follows it."""
    lost_uri: str = ""
    """The blob of the frame's original, which is lost; empty: the frame itself is accepted again."""
    version: int = MAJOR_VERSION


class Feed(Event, frozen=True, kw_only=True, omit_defaults=True):
    """A source that is read while this record exists (`feeds`, compacted, key: `tenant/feed`).

    `source` holds no credentials: `${NAME}` is an environment variable of the process that reads it.
    """

    tenant: str
    feed: str
    source: str
    changed: Utc
    """When this record was written."""
    policy: Literal["live", "lossless"] = "live"
    """`lossless` pauses the source while the plan is behind; `live` lets old frames skip stages."""
    max_age_seconds: float = 10.0
    """For `live`: see `FrameEvent.max_age_seconds`."""
    frames_per_second: float | None = None
    """Maximum rate of accepted frames: others wait, or from a camera are shed."""
    quality: int = 90
    """JPEG quality in which video frames are stored."""
    keyframes_only: bool = False
    """Whether only keyframes are decoded."""
    loop: bool = False
    """A video file is played at its own speed, again and again."""
    paused: bool = False
    """Whether the feed is not read at present."""
    version: int = MAJOR_VERSION
