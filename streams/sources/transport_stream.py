"""Where the recordings of one MPEG transport stream begin: FFmpeg reads a stream in the codec that it found first.

A camera that was set to another codec, or two recordings that were joined, change it in the program map (ISO/IEC
13818-1 2.4.4.8). Each part is then read for itself.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

SYNC = 0x47
PACKET_BYTES = (188, 192, 204)
"""Plain, with a time code in front (Blu-ray, AVCHD), with a checksum behind."""
_TIMECODE_BYTES = {192: 4}
_CHUNK_PACKETS = 1 << 16
_PROGRAM_MAP = 0x02
_PROGRAM_TABLE_PID = 0
_VIDEO_TYPES = frozenset({0x01, 0x02, 0x10, 0x1B, 0x20, 0x24, 0x33, 0x42, 0xD1, 0xEA})
"""Stream types of video: MPEG-1, -2 and -4, H.264 and its layers, H.265, H.266, AVS, Dirac, VC-1."""
Part = tuple[int, int]
"""First byte, and the byte after the last."""
_Codecs = tuple[tuple[int, int], ...]


def parts(path: Path) -> list[Part]:
    """The parts of a transport stream that have one set of video codecs each; the whole file if it never changes."""
    status = path.stat()
    return list(_parts(path, status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=16)
def _parts(path: Path, size: int, changed: int) -> tuple[Part, ...]:
    with path.open("rb") as file:
        begins = [0, *_changes(file)]
    return tuple(zip(begins, [*begins[1:], size], strict=True))


def _changes(file: BinaryIO) -> Generator[int, None, None]:
    """Where a part begins that has other codecs than the one before: at the program table before its first map."""
    current, table = dict[int, _Codecs](), 0
    for position, packet in _tables(file):
        pid = int(packet[1] & 0x1F) << 8 | int(packet[2])
        if pid == _PROGRAM_TABLE_PID:
            table = position
            continue
        codecs = _video_codecs(packet)
        if codecs and current.get(pid, codecs) != codecs:
            yield table
        if codecs:
            current[pid] = codecs


def _tables(file: BinaryIO) -> Generator[tuple[int, bytes], None, None]:
    """Position and content of every packet that begins a program table or a program map."""
    position, maps = 0, set[int]()
    while True:
        file.seek(position)
        content = file.read(_CHUNK_PACKETS * PACKET_BYTES[0])
        start, size = _sync(content)
        if not size:
            if len(content) <= PACKET_BYTES[-1] * 3:
                return
            position += len(content) - PACKET_BYTES[-1] * 3
            continue
        packets = _in_sync(content, start, size)
        pids = (packets[:, 1].astype(np.uint16) & 0x1F) << 8 | packets[:, 2]
        begins = packets[:, 1] & 0x40 != 0
        for row in np.flatnonzero(begins & (pids == _PROGRAM_TABLE_PID)):
            maps |= _map_pids(packets[row].tobytes())
        for row in np.flatnonzero(begins & np.isin(pids, [_PROGRAM_TABLE_PID, *maps])):
            begin = position + start + int(row) * size - _TIMECODE_BYTES.get(size, 0)
            yield max(0, begin), packets[row].tobytes()
        position += start + len(packets) * size


def _sync(content: bytes) -> tuple[int, int]:
    """Offset of the first packet and the distance between packets; 0, 0 if there is none."""
    view = np.frombuffer(content, np.uint8)
    for start in np.flatnonzero(view == SYNC):
        for size in PACKET_BYTES:
            if all(view[start + size * n] == SYNC for n in range(1, 3) if start + size * n < len(view)):
                return int(start), size
    return 0, 0


def _in_sync(content: bytes, start: int, size: int) -> NDArray[np.uint8]:
    """Packets of 188 bytes [count, 188] up to where a sync byte is missing; at least one."""
    count = max(1, (len(content) - start) // size)
    padded = content[start : start + count * size].ljust(count * size, b"\0")
    packets = np.frombuffer(padded, np.uint8).reshape(count, size)[:, : PACKET_BYTES[0]]
    lost = np.flatnonzero(packets[:, 0] != SYNC)
    return packets[: max(1, lost[0])] if len(lost) else packets


def _section(packet: bytes) -> bytes:
    """The section that begins in a packet, as far as the packet holds it."""
    start = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
    if not packet[3] & 0x10 or start >= len(packet):
        return b""
    start += 1 + packet[start]
    section = packet[start:]
    return section[: 3 + (int.from_bytes(section[1:3], "big") & 0xFFF)] if len(section) >= 3 else b""


def _map_pids(packet: bytes) -> set[int]:
    section = _section(packet)[8:-4]
    entries = [int.from_bytes(section[at : at + 4], "big") for at in range(0, len(section) - 3, 4)]
    return {entry & 0x1FFF for entry in entries if entry >> 16}


def _video_codecs(packet: bytes) -> _Codecs:
    """PID and stream type of each video stream that a program map lists."""
    section = _section(packet)
    if len(section) < 12 or section[0] != _PROGRAM_MAP:
        return ()
    found, position = [], 12 + (int.from_bytes(section[10:12], "big") & 0xFFF)
    while position + 5 <= len(section) - 4:
        if section[position] in _VIDEO_TYPES:
            found.append((int.from_bytes(section[position + 1 : position + 3], "big") & 0x1FFF, section[position]))
        position += 5 + (int.from_bytes(section[position + 3 : position + 5], "big") & 0xFFF)
    return tuple(sorted(found))
