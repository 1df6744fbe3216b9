"""Tells whether a video file is one that was read before, perhaps while it was still being written.

A hash of the whole file does not: a longer file has another hash, and a recorder rewrites the beginning of a file when
it closes it. What stays is the film itself, packet by packet.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from schemas.events import Recording
from streams.sources.source import Reading
from streams.sources.video import demuxed_packets
from streams.sources.whole_frames import DECODER_ERRORS

UNCERTAIN_PACKETS = 2
"""The last packets of a file that is still being written may be incomplete."""
FEWEST_PACKETS = 8
"""Two recordings may begin with the same few packets: black pictures."""


def read_recording(path: Path, sha256: str, earlier: Sequence[Recording]) -> Reading | None:
    """How the file with this hash is read for the first time; None if `earlier` has it already. Blocking."""
    if any(recording.sha256 == sha256 for recording in earlier):
        return None
    packets, digest, grown = _examine(path, earlier)
    root = sha256 if grown is None else grown.root
    recording = Recording(sha256=sha256, root=root, packets=packets, digest=digest)
    note = "" if grown is None else f"{path}: has grown since it was ingested; the frames of then are known again"
    return Reading(recording, note)


def root_of(sha256: str, earlier: Sequence[Recording]) -> str:
    """The hash in the positions of a file that `earlier` has."""
    return next((recording.root for recording in earlier if recording.sha256 == sha256), sha256)


def _examine(path: Path, earlier: Sequence[Recording]) -> tuple[int, bytes, Recording | None]:
    """Number and digest of the film's certain packets, and the longest earlier recording with which it begins."""
    digest, count, grown = hashlib.sha256(), 0, None
    for packet in _certain_packets(path):
        digest.update(f"{packet.pts},{packet.dts};".encode())
        digest.update(packet)
        count += 1
        begun = [recording for recording in earlier if recording.packets == count >= FEWEST_PACKETS]
        if begun and (so_far := digest.digest()) in (recording.digest for recording in begun):
            grown = next(recording for recording in begun if recording.digest == so_far)
    return count, digest.digest(), grown


def _certain_packets(path: Path) -> Generator[Any, None, None]:
    waiting: deque[Any] = deque()
    try:
        for packet in demuxed_packets(path):
            waiting.append(packet)
            if len(waiting) > UNCERTAIN_PACKETS:
                yield waiting.popleft()
    except (OSError, *DECODER_ERRORS):  # the reading itself says what is wrong
        return
