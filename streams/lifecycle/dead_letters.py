"""Dead letters as people handle them: list, show, replay, drop.

`frames.dead` is a log, so a letter is taken off the list by a mark behind it: an empty record under the letter's
key, whose header names the offset it answers. A mark never hides a letter that is newer than itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from schemas import cloudevents, codec, topics
from schemas.errors import SchemaError
from schemas.events import DeadLetter
from schemas.identity import still_key
from stores.blobs import BlobStore
from streams.lifecycle.deletions import Deletions
from streams.transport import NewRecord, Partition, Record, Transport

REPLAYED_HEADER = "sightline_replayed"
"""On a record that was dead once: its frame may have left points, which are deleted where they are not rewritten."""
ANSWERS_HEADER = "sightline_answers"
"""On a mark; a record that has it is no letter."""
PAGE_RECORDS = 256


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters: empty fields choose all. `stage` and `reason` are exact, times are when the frame died."""

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
    """A dead letter and where it lies; `letter.value` is left there, for it may be megabytes."""

    letter: DeadLetter
    partition: Partition
    offset: int


class DeadLetters:
    """Works on any transport, whether or not workers run."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def choose(self, chosen: LetterFilter | None = None) -> list[OpenLetter]:
        """Open letters, oldest first; of a frame that died again only the last, of a deleted frame none."""
        chosen = chosen or LetterFilter()
        open_letters: dict[str, OpenLetter] = {}
        async for record in self._records():
            _fold(record, open_letters)
        deletions = Deletions(self._transport)
        await deletions.catch_up()
        found = [one for one in open_letters.values() if chosen.fits(one.letter) and one.letter.id not in deletions]
        return sorted(found, key=lambda one: one.letter.died)

    async def replay(self, letters: Sequence[OpenLetter], blobs: BlobStore | None = None) -> int:
        """Publish the original records to their topics again and close the letters; returns how many.

        A letter whose record was too large to be kept is made anew from its blob, which needs `blobs`.
        """
        replayed = 0
        for letter in letters:
            original = await self._original(letter, blobs)
            if original is None:
                continue
            await self._transport.publish([original])
            await self._transport.publish([_mark(letter)])
            replayed += 1
        return replayed

    async def drop(self, letters: Sequence[OpenLetter]) -> int:
        """Close letters for good: they are listed and replayed no more."""
        if letters:
            await self._transport.publish([_mark(letter) for letter in letters])
        return len(letters)

    async def _original(self, letter: OpenLetter, blobs: BlobStore | None) -> NewRecord | None:
        found = await self._transport.read(letter.partition, letter.offset, 1)
        if not found or found[0].offset != letter.offset:
            return None
        whole = codec.decode_dead(found[0].value, found[0].headers)
        headers = {**whole.headers, REPLAYED_HEADER: b"1"}
        if whole.value is not None:
            return NewRecord(whole.topic, whole.key, whole.value, headers)
        if blobs is None or not whole.uri or not (cloudevents.text(headers, "content-type") or "").startswith("image/"):
            return None
        return NewRecord(whole.topic, whole.key, await blobs.get(whole.tenant, whole.uri), headers)

    async def _records(self) -> AsyncIterator[Record]:
        for partition, (first, end) in (await self._transport.ends(topics.DEAD)).items():
            offset = first
            while offset < end:
                page = await self._transport.read(partition, offset, PAGE_RECORDS)
                if not page:
                    break
                for record in page:
                    yield record
                offset = page[-1].offset + 1


def _fold(record: Record, open_letters: dict[str, OpenLetter]) -> None:
    """A letter replaces its frame's earlier one; a mark closes the one that it answers."""
    frame = record.key.decode(errors="replace")
    if ANSWERS_HEADER in record.headers:
        answered = int(record.headers[ANSWERS_HEADER])
        if (known := open_letters.get(frame)) is not None and known.offset <= answered:
            del open_letters[frame]
        return
    try:
        letter = codec.decode_dead(record.value, record.headers)
    except SchemaError:
        return  # not ours; a letter that cannot be read can neither be shown nor replayed
    open_letters[letter.id] = OpenLetter(msgspec.structs.replace(letter, value=None), record.partition, record.offset)


def _mark(letter: OpenLetter) -> NewRecord:
    return NewRecord(topics.DEAD, still_key(letter.letter.id), b"", {ANSWERS_HEADER: str(letter.offset).encode()})
