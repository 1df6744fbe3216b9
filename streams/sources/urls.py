"""Pictures by URL: a list in a file or on standard input, fetched through the guard, several at once."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from schemas.events import Kind
from schemas.identity import still_position
from schemas.pictures import picture_format
from streams.errors import Unavailable
from streams.sources.concurrent_map import ahead
from streams.sources.fetcher import Fetcher
from streams.sources.images import read_picture
from streams.sources.source import Offer, Picture, Refusal, Repeated, Seen, UnreadableSource
from streams.sources.thread_iterator import in_thread
from streams.sources.url_guard import ForbiddenUrl, redacted

SCHEMES = ("http://", "https://")
_COMMENT = "#"
_PICTURES = (".jpg", ".jpeg", ".png", ".webp")
_SNIFFED_BYTES = 4096
Lines = Callable[[], Iterable[str]]
Heard = Callable[[str, Offer], None]
Stable = Callable[[str], str]
"""From a URL to its part of a position, which must hold no key."""


class UrlsSource:
    """`lines` is called in a thread and may block; empty lines are passed over, and those of a file that begin with #.

    A URL that fails is refused with its reason, and the others go on. The position is the picture's SHA-256 and its
    URL without the query, where keys and signatures stand: a link that was signed anew leads to the same frame.
    `stable` names a URL that is written differently every day. A line that is no URL is a file's path where `paths`
    is set, else refused. `heard` is told of every line and what became of it, before it is offered.
    """

    kind: Kind = "still"
    repeatable = True

    def __init__(
        self,
        lines: Lines,
        fetcher: Fetcher,
        *,
        count: int | None = None,
        limit: int | None = None,
        paths: bool = False,
        stable: Stable = redacted,
        heard: Heard | None = None,
    ) -> None:
        self._lines = lines
        self._fetcher = fetcher
        self._count = count
        self._limit = limit
        self._paths = paths
        self._stable = stable
        self._heard = heard

    async def total(self) -> int | None:
        return min((n for n in (self._count, self._limit) if n is not None), default=None)

    async def offers(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        offered = 0
        at_once = self._fetcher.settings.at_once
        async with (
            aclosing(self._asked()) as asked,
            aclosing(ahead(asked, lambda line: self._offer(line, seen), at_once)) as answers,
        ):
            async for line, offer in answers:
                if self._heard is not None:
                    self._heard(line, offer)
                yield offer
                offered += not isinstance(offer, Refusal)
                if offered == self._limit:
                    return

    async def _asked(self) -> AsyncGenerator[str, None]:
        async with aclosing(in_thread(self._wanted(), 1)) as chunks:
            async for (line,) in chunks:
                yield line

    def _wanted(self) -> Generator[str, None, None]:
        for line in self._lines():
            stripped = line.strip()
            if stripped and (self._paths or not stripped.startswith(_COMMENT)):
                yield stripped if is_url(stripped) else line.rstrip("\r\n")

    async def _offer(self, line: str, seen: Seen) -> Offer:
        if is_url(line):
            return await fetch_picture(line, self._fetcher, seen, self._stable)
        if self._paths:
            return await asyncio.to_thread(read_picture, Path(line), seen)
        shown = "".join(character if character.isprintable() else "?" for character in line[:80])
        return Refusal(shown, "not_a_url", f"{shown}: not a URL; write one http:// or https:// a line")


async def fetch_picture(url: str, fetcher: Fetcher, seen: Seen, stable: Stable = redacted) -> Offer:
    """The picture behind a URL; never raises for what the URL or its host is."""
    name = redacted(url)
    try:
        content = (await fetcher.get(url)).content
    except ForbiddenUrl as refused:
        return Refusal(name, "refused_url", str(refused))
    except Unavailable as away:
        return Refusal(name, "unreachable", f"{away}, {fetcher.settings.attempts} times")
    form = picture_format(content)
    if form is None:
        return Refusal(name, "not_a_picture", f"{name}: no JPEG, PNG or WebP by its first bytes")
    position = still_position(stable(url), hashlib.sha256(content).hexdigest())
    return Repeated(position) if seen(position) else Picture(position, content, form)


def is_url(line: str) -> bool:
    return line.lower().startswith(SCHEMES)


def is_picture_url(spec: str) -> bool:
    """Whether a URL by its path is one picture, not a camera's stream."""
    return is_url(spec) and urlsplit(redacted(spec)).path.lower().endswith(_PICTURES)


def is_url_list(path: Path) -> bool:
    """Whether the first line of a file that says anything is a URL. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_SNIFFED_BYTES).decode(errors="replace").removeprefix("\ufeff")
    said = (line.strip() for line in head.splitlines())
    return is_url(next((line for line in said if line and not line.startswith(_COMMENT)), ""))


def from_url_file(path: Path, fetcher: Fetcher, *, limit: int | None = None) -> UrlsSource:
    """A file with one URL a line. Raises UnreadableSource. Blocking: counts its lines."""
    if not os.access(path, os.R_OK):
        raise UnreadableSource(f"{path}: cannot be read; check the path and its permissions")

    def lines() -> Generator[str, None, None]:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            yield from file

    count = sum(bool(line.strip()) and not line.strip().startswith(_COMMENT) for line in lines())
    return UrlsSource(lines, fetcher, count=count, limit=limit)


def from_listed(lines: TextIO, fetcher: Fetcher, *, limit: int | None = None) -> UrlsSource:
    """One URL or path a line, read as they come (`find … | sightline ingest -`)."""
    return UrlsSource(lambda: lines, fetcher, limit=limit, paths=True)


def from_urls(
    urls: Iterable[str],
    fetcher: Fetcher,
    *,
    limit: int | None = None,
    stable: Stable = redacted,
    heard: Heard | None = None,
) -> UrlsSource:
    listed = list(urls)
    return UrlsSource(lambda: listed, fetcher, count=len(listed), limit=limit, stable=stable, heard=heard)
