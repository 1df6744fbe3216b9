"""Examines a deployment: what the log, the index and the pictures have of each frame, and what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from schemas import points, topics
from schemas.codec import decode_frame
from schemas.errors import SchemaError
from sightline.config import Config
from sightline.wiring.build_worker import collections, worker_settings
from sightline.wiring.idle import left
from sightline.wiring.lost_log import picture_folder
from sightline.wiring.parts import Parts, group_topics
from sightline.wiring.stage_loader import embedding_stages
from stores.blobs import SCHEME
from stores.index import Verified
from streams.lifecycle.check import Findings, check
from streams.lifecycle.known_frames import KnownFrame, KnownFrames, Report, known_frames, silent
from streams.lifecycle.stored_pictures import PictureFindings, compare_pictures
from streams.topic_reader import read_topic


@dataclass(frozen=True, slots=True)
class Examination:
    """`verified` is by collection of the configured model set, empty unless every point was read."""

    known: KnownFrames
    findings: Findings
    pictures: PictureFindings
    verified: Mapping[str, Verified]
    others: Mapping[str, int]
    """Frames indexed with other model sets, by collection."""
    absent: tuple[str, ...]
    """Collections of the configured model set that do not exist."""
    unprocessed: int

    @property
    def damaged_points(self) -> dict[str, tuple[str, ...]]:
        return {name: each.damaged for name, each in self.verified.items() if each.damaged}

    @property
    def is_whole(self) -> bool:
        return self.findings.kept and not self.pictures.faults and not self.damaged_points


async def examine(parts: Parts, *, deep: bool = False, report: Report = silent) -> Examination:
    """`deep` reads every point, original and thumbnail. Raises Unavailable, StoreUnavailable."""
    config, stages = parts.config, embedding_stages(parts.config)
    names = [spec.name for spec in collections(config, worker_settings(config)).values()]
    existing = await parts.index.collections()
    findings = await check(parts.transport, parts.index, names, embedding_stages=stages)
    known = await known_frames(
        parts.transport, parts.index, embedding_stages=stages, groups=group_topics(config), report=report
    )
    tenants = {config.tenant, *(frame.tenant for frame in known.frames.values())}
    return Examination(
        known=known,
        findings=findings,
        pictures=await compare_pictures(known, parts.blobs, tenants, deep=deep, report=report),
        verified={name: await parts.index.verify(name) for name in names if name in existing} if deep else {},
        others={name: count for name, count in existing.items() if points.holds_frames(name) and name not in names},
        absent=tuple(name for name in names if name not in existing),
        unprocessed=await left(parts),
    )


def picture_files(config: Config, examination: Examination) -> dict[str, list[str]]:
    """Where the pictures of each fault lie, or lay: paths in a folder, URIs in an object store."""
    folder, pictures = picture_folder(config), examination.pictures
    frames = {
        "originals_missing": pictures.originals_missing,
        "originals_damaged": pictures.originals_damaged,
        "thumbnails_missing": pictures.thumbnails_missing,
        "thumbnails_damaged": pictures.thumbnails_damaged,
    }
    return {
        fault: [_place(folder, examination.known.frames[frame], fault) for frame in found]
        for fault, found in frames.items()
        if found
    }


def _place(folder: Path | None, frame: KnownFrame, fault: str) -> str:
    uri = frame.thumbnail if fault.startswith("thumbnails") else frame.uri
    return uri if folder is None else str(folder / uri.removeprefix(SCHEME))


async def frames_of_damaged(parts: Parts, examination: Examination) -> frozenset[str]:
    """The frames whose own point or region is damaged: a region's frame stands in its event."""
    own, regions = set[str](), set[str]()
    for name, ids in examination.damaged_points.items():
        (own if points.holds_frames(name) else regions).update(ids)
    if regions:
        async for record in read_topic(parts.transport, topics.ENRICHED):
            try:
                event = decode_frame(record.value, record.headers).event
            except SchemaError:
                continue
            own |= {event.id} if any(region.id in regions for region in event.regions) else set()
    return frozenset(own)
