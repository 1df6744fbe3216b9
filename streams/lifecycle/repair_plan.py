"""What a repair will do: decided from what log, index and store have, before anything is changed.

A later repair decides again from what is there then: a repair may be interrupted, and run as often as one likes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from schemas import points
from schemas.events import FrameEvent
from streams.lifecycle.accepted_frames import LostOriginal
from streams.lifecycle.check import Findings
from streams.lifecycle.known_frames import KnownFrame, KnownFrames, Place, event_of_point
from streams.lifecycle.stored_pictures import PictureFindings

HOPELESS_CAMERA = "its picture is lost, and a camera does not show it again: restore a backup, or forget the frame"
HOPELESS_POINT = "its point is there, but not enough to make its record again"


@dataclass(slots=True)
class RepairPlan:
    """Every list may be empty. Frames that people had erased are in none but `delete_points`."""

    delete_points: dict[str, list[str]] = field(default_factory=dict)
    """Frames by collection: dead, erased, or without an embedding by their last event."""
    put_back: dict[str, tuple[KnownFrame, Place]] = field(default_factory=dict)
    """Frames whose lost or damaged original lies in a record."""
    thumbnails: dict[str, KnownFrame] = field(default_factory=dict)
    """Frames whose thumbnail is made again."""
    process: dict[str, FrameEvent] = field(default_factory=dict)
    """Frames whose record is published again: workers make their points and events."""
    accepted: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Frames (tenant and feed of each) that are listed as accepted again, so that an ingest knows them."""
    lost: dict[str, tuple[str, LostOriginal]] = field(default_factory=dict)
    """Frames (with their tenant) that the next ingest of their source makes whole."""
    hopeless: dict[str, str] = field(default_factory=dict)
    """Frames that nothing here can make whole, with the reason."""

    @property
    def counts(self) -> dict[str, int]:
        """What there is to do, by kind; without the kinds that have nothing."""
        counts = {
            "points_deleted": sum(map(len, self.delete_points.values())),
            "originals_from_the_log": len(self.put_back),
            "thumbnails": len(self.thumbnails),
            "frames_to_process": len(self.process),
            "frames_listed_as_accepted": len(self.accepted),
            "originals_to_ingest_again": len(self.lost),
            "hopeless": len(self.hopeless),
        }
        return {kind: count for kind, count in counts.items() if count}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a plan is made from, beside what is known of each frame."""

    findings: Findings
    pictures: PictureFindings
    accepted: Mapping[str, tuple[str, str]]
    """Tenant and feed of each frame that the sources' list names."""
    index_was_lost: bool = False
    """The collection of the model set was missing."""
    records_were_lost: bool = False
    """The log was damaged once: a frame that only the list of accepted ones knows may have lost its record."""
    damaged_points: Collection[str] = ()
    """Frames with a damaged point or region."""
    taken: Collection[str] = ()
    """Accepted frames that are older than what retention keeps of their feed."""


def plan_repair(known: KnownFrames, found: Circumstances) -> RepairPlan:
    plan = RepairPlan()
    _plan_deletions(plan, known, found)
    _plan_originals(plan, known, found)
    _plan_thumbnails(plan, known, found)
    _plan_unlogged(plan, known, found)
    _plan_processing(plan, known, found)
    if found.index_was_lost:
        _plan_spared(plan, known, found)
    if (found.index_was_lost and known.trimmed) or found.records_were_lost:
        _plan_expired(plan, known, found)
    return plan


def _plan_deletions(plan: RepairPlan, known: KnownFrames, found: Circumstances) -> None:
    for collection, owners in known.points.items():
        gone = [frame for frame in owners if _must_have_no_point(frame, collection, known)]
        if gone:
            plan.delete_points[collection] = sorted(gone)


def _must_have_no_point(frame: str, collection: str, known: KnownFrames) -> bool:
    """Erased, dead, or its last event says that nothing was embedded. Frames that the log does not know stay."""
    if frame in known.deleted:
        return True
    entry = known.frames.get(frame)
    if entry is None or frame in known.in_flight:
        return False
    model_set = collection.removeprefix(f"{points.FRAMES}-").removeprefix(f"{points.REGIONS}-")
    return entry.is_dead or entry.embedded.get(model_set) is False


def _plan_originals(plan: RepairPlan, known: KnownFrames, found: Circumstances) -> None:
    """From the record that holds the bytes, else from the source."""
    for frame in (*found.pictures.originals_missing, *found.pictures.originals_damaged):
        entry = known.frames[frame]
        if entry.has_bytes and entry.raw is not None:
            plan.put_back[frame] = entry, entry.raw
        elif frame in found.accepted:
            plan.lost[frame] = entry.tenant, LostOriginal(frame, found.accepted[frame][1], entry.uri)
        else:
            plan.hopeless[frame] = HOPELESS_CAMERA


def _plan_thumbnails(plan: RepairPlan, known: KnownFrames, found: Circumstances) -> None:
    for frame in (*found.pictures.thumbnails_missing, *found.pictures.thumbnails_damaged):
        if _has_original(frame, plan):
            plan.thumbnails[frame] = known.frames[frame]


def _has_original(frame: str, plan: RepairPlan) -> bool:
    return frame not in plan.lost and frame not in plan.hopeless


def _plan_unlogged(plan: RepairPlan, known: KnownFrames, found: Circumstances) -> None:
    """Frames that have points alone, as where the log is lost: the point says what the frame was accepted as."""
    for frame in found.pictures.unlogged:
        payload = known.unlogged[frame]
        tenant, feed = str(payload.get("tenant") or ""), str(payload.get("feed") or "")
        if (event := event_of_point(frame, payload)) is None:
            plan.hopeless[frame] = HOPELESS_POINT
        elif frame not in known.in_flight:
            plan.process[frame] = event
        if tenant and feed and frame not in found.accepted:
            plan.accepted[frame] = tenant, feed


def _plan_processing(plan: RepairPlan, known: KnownFrames, found: Circumstances) -> None:
    """Accepted frames without an end, and enriched ones whose points are missing or damaged."""
    for frame in (*found.findings.missing, *found.findings.points_missing, *found.damaged_points):
        entry = known.frames.get(frame)
        if entry is None or frame in known.in_flight or frame in known.deleted or entry.is_dead:
            continue
        if entry.event is not None and _has_original(frame, plan):
            plan.process[frame] = entry.event


def _plan_spared(plan: RepairPlan, known: KnownFrames, found: Circumstances) -> None:
    """Retention takes the point first: where the index was lost, a picture that is there was not taken."""
    for frame in found.pictures.spared:
        entry = known.frames[frame]
        is_due = frame not in known.in_flight | known.deleted and any(entry.embedded.values()) and not entry.is_dead
        if is_due and entry.event is not None:
            plan.process[frame] = entry.event


def _plan_expired(plan: RepairPlan, known: KnownFrames, found: Circumstances) -> None:
    """Where the index or records were lost, frames may have neither event nor point: their source is read again,
    but not for what retention has taken, or would take at once."""
    have = known.frames.keys() | known.unlogged.keys() | known.deleted | set(found.taken)
    for frame, (tenant, feed) in found.accepted.items():
        if frame not in have:
            plan.lost[frame] = tenant, LostOriginal(frame, feed, "")


Progress = Callable[[str, int, int], None]
"""What is being done, how much of it, and of how much."""
