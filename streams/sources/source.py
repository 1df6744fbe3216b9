"""What a source is: something that offers pictures in order, each with a position that never changes.

A source knows nothing of topics and stores: `streams.sources.ingest` makes its pictures durable. It is told what
was accepted before, so that it need not encode, read or pace what would only be left out.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from schemas.events import Kind
from schemas.pictures import Format
from streams.errors import StreamError

Seen: TypeAlias = Callable[[str], bool]
"""Whether the picture at a position was accepted before."""


class UnreadableSource(StreamError):  # noqa: N818 - named for the state
    """The source as a whole cannot be read; the message names the path and the way out."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture, as its bytes will be kept. Sizes are pixels, 0 where nobody has read the header."""

    position: str
    content: bytes
    format: Format
    width: int = 0
    height: int = 0
    quality: int = 0
    """JPEG quality of our own encoding; 0 if the bytes are as they came."""
    captured: datetime | None = None


@dataclass(frozen=True, slots=True)
class Repeated:
    """A picture that was accepted before."""

    position: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that is no picture we take. `reason` is a slug; the message names the file and what to do."""

    name: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Shed:
    """Frames that a live source dropped because we were behind."""

    count: int


Offer: TypeAlias = Picture | Repeated | Refusal | Shed


class Source(Protocol):
    @property
    def kind(self) -> Kind: ...

    @property
    def repeatable(self) -> bool:
        """Whether positions come again when the source is read again; a live source's never do."""
        ...

    async def total(self) -> int | None:
        """How many offers are expected, None if that cannot be known; an estimate for most videos."""
        ...

    def offers(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        """Pictures in order. Close the generator (`contextlib.aclosing`) to let go of files and threads.

        Raises UnreadableSource.
        """
        ...
