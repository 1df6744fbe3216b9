"""Makes thumbnails as the plan's decode stage does, outside a worker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from processors.frame import Frame
from processors.headers import Unreadable, read_header
from processors.stages.decode import Decode, DecodeSettings
from schemas.events import ImageRef
from sightline.config import Config
from sightline.wiring.stage_loader import checked_stages

DECODE = "decode"


def thumbnail_maker(config: Config) -> Callable[[bytes], bytes | None]:
    """From an encoded picture to its JPEG; None where the plan makes none. Raises Unreadable."""
    stages = checked_stages(config)
    stage = Decode(stages.settings[DECODE] if stages.classes.get(DECODE) is Decode else DecodeSettings())

    def make(original: bytes) -> bytes | None:
        image = ImageRef(format=read_header(original).format, sha256="", size_bytes=len(original))
        now = datetime.now(UTC)
        frame = Frame(
            id="", tenant="", feed="", kind="still", position="", ingested=now, image=image, original=original
        )  # for the decode stage alone
        if invalid := stage.process([frame])[0]:
            raise Unreadable(invalid.reason, invalid.message)
        return frame.thumbnail_jpeg

    return make
