"""Decodes a video stream and leaves out what came damaged, with what builds on it.

A decoder fills what it cannot read with parts of older frames, and the frames after it repeat them up to the next
keyframe. Such a picture shows what never was; it is dropped and counted.
"""

from __future__ import annotations

from typing import Any

import av
import structlog

from streams.sources.jpeg_damage import is_damaged

log = structlog.get_logger()

DECODER_ERRORS = (av.error.FFmpegError, ValueError)
"""What a demuxer or decoder may raise on damaged input; it says nothing about other sources."""
REPAIR_FRAMES = 600
"""Frames after damage that are dropped unless a keyframe comes: streams that refresh in stripes never send one, and
show no old parts after twenty seconds."""
_ALWAYS = -(1 << 63)
"""Before every time stamp."""
_GAP_PACKETS = 2
"""A demuxer tells a gap up to two packets early."""
HOPELESS_PACKETS = 500
"""Packets in a row that cannot be decoded: the stream has become another one, with another codec for example."""


def flush_packet(stream: Any) -> Any:
    """The packet without content after which a decoder gives its last frames."""
    packet = av.Packet()
    packet.stream, packet.time_base = stream, stream.time_base
    return packet


class WholeFrames:
    """One decoder. `damaged` counts what it dropped; `hopeless` is set when it decodes nothing any more.

    With `joined` the stream may begin between two keyframes, as a camera's does: what cannot be decoded before the
    first whole frame is no damage.
    """

    def __init__(self, stream: Any, *, joined: bool) -> None:
        self.damaged = 0
        self._jpegs = stream.codec_context.name == "mjpeg"
        self._begun = not joined
        self._after_gap: list[int] | None = None
        self._held: list[Any] = []
        self._dropping, self._since = 0, _ALWAYS
        self._failures = 0

    @property
    def hopeless(self) -> bool:
        return self._failures >= HOPELESS_PACKETS

    def decode(self, packet: Any) -> list[Any]:
        """PyAV's frames that `packet` completes and that are whole, in order of display. Never raises."""
        self._note_gap(packet)
        if self._jpegs and packet.size and is_damaged(bytes(packet)):
            self.damaged += 1
            return []
        try:
            frames = packet.decode()
        except DECODER_ERRORS as error:
            log.debug("packet_not_decoded", error=str(error))
            self._failures += 1
            self.lost()
            return []
        if frames:
            self._failures = 0
        self._held += frames
        if self._after_gap is not None and packet.size:
            return []
        held, self._held = self._held, []
        return [frame for frame in held if self._is_whole(frame)]

    def lost(self) -> None:
        """A part of the stream is missing."""
        self.damaged += self._begun
        self._dropping, self._since = REPAIR_FRAMES, _ALWAYS

    def _note_gap(self, packet: Any) -> None:
        """The demuxer saw a gap in one of the two packets after a marked one. Decoders do not tell all of them.

        Before a keyframe it does no harm: there a recording was joined to another one.
        """
        if packet.is_keyframe:
            self._after_gap = None
        elif self._after_gap is not None:
            self._after_gap.append(_ALWAYS if packet.dts is None else packet.dts)
            if len(self._after_gap) == _GAP_PACKETS:
                if not self._dropping:
                    self._dropping, self._since = REPAIR_FRAMES, self._after_gap[0]
                self._after_gap = None
        if packet.is_corrupt:
            self._after_gap = []

    def _is_whole(self, frame: Any) -> bool:
        if frame.is_corrupt:
            self.lost()
            return False
        if self._dropping and frame.pts is not None and frame.pts < self._since:
            return True
        if self._dropping and not frame.key_frame:
            self._dropping -= 1
            self.damaged += self._begun
            return False
        self._dropping, self._begun = 0, True
        return True
