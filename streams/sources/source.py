"""What a source is: it offers pictures in order, each with a position that never changes.

A source knows nothing of topics and stores: `streams.sources.ingest` makes its pictures durable. It can ask which
frames were accepted before, so that it need not read, pace or encode them again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from schemas.events import Kind, Recording
from schemas.pictures import Format
from streams.errors import StreamError

Seen: TypeAlias = Callable[[str], bool]
"""Whether the picture at a position was accepted before."""


class UnreadableSource(StreamError):  # noqa: N818 - named for the state
    """The source as a whole cannot be read; the message names the source and says what to do."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture; its bytes are stored unchanged. Sizes are pixels, 0 if the header was not read."""

    position: str
    content: bytes
    format: Format
    width: int = 0
    height: int = 0
    quality: int = 0
    """JPEG quality of the source's own encoding; 0 for the unchanged bytes of a file."""
    captured: datetime | None = None
    origin: str = ""
    """Path or URL that it comes from, without credentials."""


@dataclass(frozen=True, slots=True)
class Repeated:
    """A picture that was accepted before."""

    position: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A picture that is not accepted. `reason` is a slug; the message names the file and says what to do."""

    name: str
    reason: str
    message: str


BEHIND, DAMAGED = "source:behind", "source:damaged"
"""Why a live source drops frames: Sightline is slower than the camera; what came cannot be decoded whole."""


@dataclass(frozen=True, slots=True)
class Shed:
    """Frames that a live source dropped before they were accepted."""

    count: int
    reason: str = BEHIND


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Files of a folder, glob or prefix that are hidden or excluded."""

    count: int


@dataclass(frozen=True, slots=True)
class Reading:
    """A video file as it is read now, offered before its frames; `note` is for people, empty: nothing to say."""

    recording: Recording
    note: str = ""


Offer: TypeAlias = Picture | Repeated | Refusal | Shed | LeftOut | Reading


def is_picture(offer: Offer) -> bool:
    """Whether a limit counts the offer."""
    return isinstance(offer, Picture | Repeated)


class Source(Protocol):
    @property
    def kind(self) -> Kind: ...

    @property
    def repeatable(self) -> bool:
        """Whether another reading gives the same positions; a live source's never repeat."""
        ...

    async def total(self) -> int | None:
        """The expected number of offers, None if unknown; an estimate for most videos."""
        ...

    def offers(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        """Pictures in order. Close the generator (`contextlib.aclosing`) to release files and threads.

        Raises UnreadableSource.
        """
        ...
