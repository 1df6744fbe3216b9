"""What people do with dead letters: list, show, replay, drop.

`frames.dead` is a log, so a later record closes a letter: an empty record under the letter's key, whose header names
the offset of the letter. A closing record never hides a letter that is newer than itself.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from msgspec.structs import replace

from schemas import cloudevents, codec, topics
from schemas.errors import SchemaError
from schemas.events import DeadLetter
from schemas.identity import still_key
from stores.blobs import BlobStore, is_blob
from stores.errors import Missing, Refused
from streams.errors import PlanError, TooLarge
from streams.lifecycle.deletions import Deletions
from streams.lifecycle.kept_frames import Retained
from streams.topic_reader import read_topic
from streams.transport import NewRecord, Partition, Record, Transport

REPLAYED_HEADER = "sightline_replayed"
"""On a record that was dead before: its frame may have left points, which are deleted unless they are overwritten."""
CLOSES_HEADER = "sightline_answers"
"""On a closing record: the offset of the letter that it closes."""


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Selects letters; an empty field selects all. `stage` and `reason` are exact, times are when the frame died."""

    frames: tuple[str, ...] = ()
    reason: str = ""
    stage: str = ""
    since: datetime | None = None
    until: datetime | None = None

    def fits(self, letter: DeadLetter) -> bool:
        return (
            (not self.frames or letter.id in self.frames)
            and (not self.reason or letter.reason == self.reason)
            and (not self.stage or letter.stage == self.stage)
            and (self.since is None or letter.died >= self.since)
            and (self.until is None or letter.died < self.until)
        )


@dataclass(frozen=True, slots=True)
class OpenLetter:
    """A dead letter and its place in the log. `letter.value` is not held: it may be megabytes."""

    letter: DeadLetter
    partition: Partition
    offset: int


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay did; `skipped` letters stay open, each with the reason for people."""

    replayed: int
    skipped: Sequence[tuple[OpenLetter, str]] = ()


class DeadLetters:
    """Works on any transport, with or without running workers."""

    def __init__(self, transport: Transport) -> None:
        self._transport, self._retained = transport, Retained(transport)
        self.unreadable = 0
        """Records of the topic that the last `choose` could not read: of other producers, or a newer Sightline's."""

    async def choose(self, selection: LetterFilter | None = None) -> list[OpenLetter]:
        """Open letters, oldest first: the last one of each frame, and none of a deleted frame."""
        selection = selection or LetterFilter()
        open_letters: dict[str, OpenLetter] = {}
        self.unreadable = 0
        async for record in read_topic(self._transport, topics.DEAD):
            self.unreadable += not _fold(record, open_letters)
        deletions = Deletions(self._transport)
        await deletions.catch_up()
        selected = [
            entry
            for entry in open_letters.values()
            if selection.fits(entry.letter) and entry.letter.id not in deletions
        ]
        return sorted(selected, key=lambda entry: entry.letter.died)

    async def replay(
        self, letters: Sequence[OpenLetter], blobs: BlobStore | None = None, read: Collection[str] = ()
    ) -> Replay:
        """Publish the original records to their topics again and close the letters.

        Where the plan's topics are given in `read`, a record of another plan's topic goes to the first segment: its
        trace says what is done.
        A letter whose record was too large to be kept is rebuilt from its blob, which needs `blobs`. A letter that
        cannot be replayed is skipped, also one whose picture is gone. Raises Unavailable, LogFull, StoreUnavailable:
        the rest can be replayed later.
        """
        replayed, skipped = 0, list[tuple[OpenLetter, str]]()
        for letter in letters:
            if (why := await self._why_not_replayed(letter, blobs, read)) is not None:
                skipped.append((letter, why))
                continue
            await self._transport.publish([_closing_record(letter)])
            replayed += 1
        return Replay(replayed, skipped)

    async def _why_not_replayed(self, letter: OpenLetter, blobs: BlobStore | None, read: Collection[str]) -> str | None:
        """Publish the letter's original record; the reason if that can never succeed."""
        try:
            original = await self._original(letter, blobs)
            if isinstance(original, NewRecord) and blobs is not None:
                original = await self._why_without_picture(original, blobs) or original
            if isinstance(original, NewRecord):
                is_read = not read or original.topic in read
                await self._transport.publish([original if is_read else replace(original, topic=topics.RAW)])
                return None
        except (SchemaError, TooLarge, PlanError, Missing, Refused, ValueError) as error:
            return str(error) or type(error).__name__
        return original

    async def _why_without_picture(self, record: NewRecord, blobs: BlobStore) -> str:
        """Why the cited picture is gone, for which a worker would wait in vain; empty where it is there."""
        try:
            decoded = codec.decode_frame(record.value, record.headers, appended_seconds=0.0)
        except SchemaError:
            return ""  # a worker finds out what it is
        event = decoded.event
        if decoded.picture is not None or event.image.inline is not None or not is_blob(event.image.uri):
            return ""
        try:
            await blobs.get(event.tenant, event.image.uri)
        except Refused:
            return ""
        except Missing as error:
            why = await self._retained.why_missing(event.tenant, event.feed, event.id, event.ingested)
            return why or f"its original is gone: {error}"
        return ""

    async def drop(self, letters: Sequence[OpenLetter]) -> int:
        """Close letters without replaying them. Returns how many."""
        if letters:
            await self._transport.publish([_closing_record(letter) for letter in letters])
        return len(letters)

    async def _original(self, letter: OpenLetter, blobs: BlobStore | None) -> NewRecord | str:
        """The record, or why there is none."""
        page = await self._transport.read(letter.partition, letter.offset, 1)
        if not page or page[0].offset != letter.offset:
            return "the letter has expired"
        whole = codec.decode_dead(page[0].value, page[0].headers)
        headers = {**whole.headers, REPLAYED_HEADER: b"1"}
        if whole.value is not None:
            return NewRecord(whole.topic, whole.key, whole.value, headers)
        if blobs is None or not whole.uri or not (cloudevents.text(headers, "content-type") or "").startswith("image/"):
            return "its record was too large for the letter, and is no picture whose original is stored"
        return NewRecord(whole.topic, whole.key, await blobs.get(whole.tenant, whole.uri), headers)


def _fold(record: Record, open_letters: dict[str, OpenLetter]) -> bool:
    """A letter replaces its frame's earlier one; a closing record removes the letter that it names. False: unreadable.

    Any producer may write to the topic: nothing in a record raises.
    """
    frame = record.key.decode(errors="replace")
    if CLOSES_HEADER in record.headers:
        closed = record.headers[CLOSES_HEADER]
        known = open_letters.get(frame)
        if known is not None and closed[:20].isdigit() and known.offset <= int(closed[:20]):
            del open_letters[frame]
        return closed.isdigit()
    try:
        letter = codec.decode_dead(record.value, record.headers)
    except SchemaError:
        return False  # it can neither be shown nor replayed
    open_letters[letter.id] = OpenLetter(msgspec.structs.replace(letter, value=None), record.partition, record.offset)
    return True


def _closing_record(letter: OpenLetter) -> NewRecord:
    return NewRecord(topics.DEAD, still_key(letter.letter.id), b"", {CLOSES_HEADER: str(letter.offset).encode()})
