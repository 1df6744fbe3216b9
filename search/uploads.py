"""Uploaded pictures, decoded with the checks of the decode stage."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

from processors.frame import Frame
from processors.headers import Unreadable, read_header
from processors.stages.decode import Decode, DecodeSettings
from schemas.events import ImageRef
from search.models import Pixels

MAX_UPLOAD_BYTES = 16 << 20
MAX_UPLOAD_PIXELS = 50_000_000
"""A phone's camera makes 12 to 48 megapixels."""
_LONGEST_SIDE = 1024
"""No preset's picture models take more; larger pictures are decoded reduced."""

_SETTINGS = DecodeSettings(
    max_bytes=MAX_UPLOAD_BYTES,
    max_pixels=MAX_UPLOAD_PIXELS,
    decoding_pixels=2 * MAX_UPLOAD_PIXELS,
    max_side=_LONGEST_SIDE,
    thumbnail_side=0,
    threads=1,
)
_STAGE = Decode(_SETTINGS)
"""One for all requests: together they decode no more than `decoding_pixels` at a time."""


def decode_upload(picture: bytes) -> Pixels:
    """Upright RGB [height, width, 3] of a picture. Raises Unreadable."""
    image = ImageRef(format=read_header(picture).format, sha256=sha256(picture).hexdigest(), size_bytes=len(picture))
    now = datetime.now(UTC)
    frame = Frame(
        id="", tenant="", feed="", kind="still", position="", ingested=now, image=image, original=picture
    )  # for the decode stage alone
    if invalid := _STAGE.process([frame])[0]:
        raise Unreadable(invalid.reason, invalid.message)
    assert frame.pixels is not None  # noqa: S101 - the stage assigns them to every frame that is not invalid
    return frame.pixels
