"""Compares the pictures in the store with what the log and the index cite, and reads them on request."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from stores.blobs import THUMBNAIL, BlobStore, sha256_hex
from stores.errors import Missing, Refused
from stores.pages import pages
from streams.lifecycle.known_frames import KnownFrame, KnownFrames, Report, seconds_of, silent

READ_AT_ONCE = 8
SETTLE_SECONDS = 60.0
"""A record follows its picture in batches: that of a newer one is on its way, or came after a backup copied the log."""
JPEG_BEGIN, JPEG_END = b"\xff\xd8", b"\xff\xd9"


@dataclass(slots=True)
class PictureFindings:
    """Frame ids by what is wrong with their pictures; empty lists mean that nothing is."""

    originals: int = 0
    """Originals in the store."""
    thumbnails: int = 0
    originals_missing: list[str] = field(default_factory=list)
    originals_damaged: list[str] = field(default_factory=list)
    """The bytes have another hash than the name; found by reading."""
    thumbnails_missing: list[str] = field(default_factory=list)
    thumbnails_damaged: list[str] = field(default_factory=list)
    """Found by reading."""
    uncited: list[str] = field(default_factory=list)
    """Blobs that no record and no point cites, and that were there before the newest record."""
    unlogged: list[str] = field(default_factory=list)
    """Frames with a point that are newer than the log's oldest record, and not on the log."""
    spared: list[str] = field(default_factory=list)
    """Frames without a point, older than what retention keeps, whose original is there: no fault by itself."""
    read: int = 0
    """Originals that were read."""

    @property
    def faults(self) -> dict[str, list[str]]:
        """Ids by fault, without the faults that nothing has."""
        names = ("originals_missing", "originals_damaged", "thumbnails_missing", "thumbnails_damaged", "uncited")
        return {name: found for name in (*names, "unlogged") if (found := getattr(self, name))}


async def compare_pictures(
    known: KnownFrames, blobs: BlobStore, tenants: Iterable[str], *, deep: bool = False, report: Report = silent
) -> PictureFindings:
    """`deep` reads every original and thumbnail that a frame needs. Raises StoreUnavailable."""
    stored = {blob.uri: blob.modified for tenant in sorted(set(tenants)) async for blob in blobs.list(tenant)}
    needed = {frame: entry for frame, entry in known.frames.items() if needs_picture(frame, entry, known)}
    findings = PictureFindings(originals=sum(not uri.endswith(THUMBNAIL) for uri in stored))
    findings.thumbnails = len(stored) - findings.originals
    for frame, entry in sorted(needed.items()):
        if entry.uri and entry.uri not in stored:
            findings.originals_missing.append(frame)
        if entry.thumbnail not in ("", entry.uri) and entry.thumbnail not in stored:
            findings.thumbnails_missing.append(frame)
    if not known.trimmed:  # else it may be that of a frame without a point, whose records have expired
        uncited = stored.keys() - known.cited - {uri + THUMBNAIL for uri in known.cited}
        before = math.inf if known.last_seconds is None else known.last_seconds - SETTLE_SECONDS
        findings.uncited = sorted(uri for uri in uncited if stored[uri] < before)
    findings.spared = sorted(frame for frame in known.taken if known.frames[frame].uri in stored)
    findings.unlogged = sorted(frame for frame in known.unlogged if is_unlogged(frame, known))
    if deep:
        present = {frame: entry for frame, entry in needed.items() if entry.uri in stored}
        await _read_all(present, stored, blobs, findings, report)
    return findings


def needs_picture(frame: str, entry: KnownFrame, known: KnownFrames) -> bool:
    """A dead frame's letter says what became of it; a deleted one's picture has to be gone; retention takes others."""
    return frame not in known.deleted and frame not in known.taken and not entry.is_dead


def is_unlogged(frame: str, known: KnownFrames) -> bool:
    """Whether the log ought to know the frame of a point and does not, as after the log's older copy was restored."""
    if frame in known.deleted:
        return False
    ingested = seconds_of(known.unlogged[frame].get("ingested"))
    return not known.trimmed or (known.first_seconds is not None and (ingested or 0.0) > known.first_seconds)


async def _read_all(
    frames: Mapping[str, KnownFrame],
    stored: Collection[str],
    blobs: BlobStore,
    findings: PictureFindings,
    report: Report,
) -> None:
    entries = sorted(frames.items())
    for page in pages(entries, READ_AT_ONCE):
        for (frame, entry), whole in zip(
            page, await asyncio.gather(*(_is_whole(blobs, *each) for each in page)), strict=True
        ):
            if not whole:
                findings.originals_damaged.append(frame)
            if entry.thumbnail != entry.uri and entry.thumbnail in stored and not await _is_thumbnail(blobs, entry):
                findings.thumbnails_damaged.append(frame)
        findings.read += len(page)
        report("originals", findings.read)


async def _is_whole(blobs: BlobStore, _: str, entry: KnownFrame) -> bool:
    """The store compares the hash. An original that is erased meanwhile is no damage."""
    try:
        await blobs.get(entry.tenant, entry.uri)
    except Refused:
        return False
    except Missing:
        return True
    return True


async def _is_thumbnail(blobs: BlobStore, entry: KnownFrame) -> bool:
    """Thumbnails of earlier versions have their original's name: of these only the two ends are known."""
    try:
        content = await blobs.get(entry.tenant, entry.thumbnail)
    except Missing:
        return True
    if entry.thumbnail.removesuffix(THUMBNAIL) == entry.uri:
        return content.startswith(JPEG_BEGIN) and content.endswith(JPEG_END)
    return entry.thumbnail.rpartition("/")[2].removesuffix(THUMBNAIL) == sha256_hex(content)
