"""Pictures by URL: a list in a file or on standard input, fetched through the URL guard, several at once."""

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
from schemas.pictures import FORMATS, SUFFIXES, picture_format
from streams.errors import Unavailable
from streams.sources.concurrent_map import map_concurrently
from streams.sources.fetcher import Fetcher
from streams.sources.http_get import CAMERA_FRAGMENT
from streams.sources.images import read_picture
from streams.sources.source import Offer, Picture, Refusal, Repeated, Seen, UnreadableSource, is_picture
from streams.sources.thread_iterator import iterate_in_thread
from streams.sources.url_guard import ForbiddenUrl, redacted

SCHEMES = ("http://", "https://")
_COMMENT = "#"
_SNIFFED_BYTES = 4096
Lines = Callable[[], Iterable[str]]
OnOffer = Callable[[str, Offer], None]
StableName = Callable[[str], str]
"""From a URL to its part of a position, which must not contain a key."""


class UrlsSource:
    """`lines` is called in a thread and may block. Empty lines are skipped, and comments (#) unless `paths` is set.

    A URL that fails is refused with its reason; the others are fetched. The position is the picture's SHA-256 and
    `stable_name` of its URL: by default the URL without its query, where keys and signatures are, so that a link with a
    new signature is the same frame. A line that is not a URL is a file's path if `paths` is set, else refused.
    `on_offer` gets each line with its offer before the offer is yielded.
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
        stable_name: StableName = redacted,
        on_offer: OnOffer | None = None,
    ) -> None:
        self._lines = lines
        self._fetcher = fetcher
        self._count = count
        self._limit = limit
        self._paths = paths
        self._stable_name = stable_name
        self._on_offer = on_offer

    async def total(self) -> int | None:
        return min((n for n in (self._count, self._limit) if n is not None), default=None)

    async def offers(self, seen: Seen) -> AsyncGenerator[Offer, None]:
        offered = 0
        at_once = self._fetcher.settings.at_once
        async with (
            aclosing(self._lines_in_order()) as lines,
            aclosing(map_concurrently(lines, lambda line: self._offer(line, seen), at_once)) as offers,
        ):
            async for line, offer in offers:
                if self._on_offer is not None:
                    self._on_offer(line, offer)
                yield offer
                offered += is_picture(offer)
                if offered == self._limit:
                    return

    async def _lines_in_order(self) -> AsyncGenerator[str, None]:
        async with aclosing(iterate_in_thread(self._stripped_lines(), 1)) as chunks:
            async for (line,) in chunks:
                yield line

    def _stripped_lines(self) -> Generator[str, None, None]:
        """URLs without surrounding space, paths as they are written."""
        for line in self._lines():
            stripped = line.strip()
            if stripped and (self._paths or not stripped.startswith(_COMMENT)):
                yield stripped if is_url(stripped) else line.rstrip("\r\n")

    async def _offer(self, line: str, seen: Seen) -> Offer:
        if is_url(line):
            return await fetch_picture(line, self._fetcher, seen, self._stable_name)
        if self._paths:
            return await asyncio.to_thread(read_picture, Path(line), seen)
        shown = "".join(character if character.isprintable() else "?" for character in line[:80])
        return Refusal(shown, "not_a_url", f"{shown}: not a URL; write one http:// or https:// URL per line")


async def fetch_picture(url: str, fetcher: Fetcher, seen: Seen, stable_name: StableName = redacted) -> Offer:
    """The picture at a URL, or a refusal with the reason; does not raise."""
    name = redacted(url)
    try:
        answer = await fetcher.get(url)
    except ForbiddenUrl as error:
        return Refusal(name, "refused_url", str(error))
    except Unavailable as error:
        return Refusal(name, "unreachable", f"{error}, {fetcher.settings.attempts} times")
    image_format = picture_format(answer.content)
    if image_format is None:
        came = answer.content_type.partition(";")[0].strip().lower() or "no content type"
        return Refusal(name, "not_a_picture", f"{name}: not {FORMATS}, it sends {came}")
    position = still_position(stable_name(url), hashlib.sha256(answer.content).hexdigest())
    return Repeated(position) if seen(position) else Picture(position, answer.content, image_format, origin=name)


def is_url(line: str) -> bool:
    return line.lower().startswith(SCHEMES)


def is_picture_url(spec: str) -> bool:
    """Whether the path of a URL names one picture, not a camera's stream."""
    if not is_url(spec) or spec.endswith(f"#{CAMERA_FRAGMENT}"):
        return False
    return urlsplit(redacted(spec)).path.lower().endswith(SUFFIXES)


def is_url_list(path: Path) -> bool:
    """Whether the first line that is neither empty nor a comment is a URL. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(_SNIFFED_BYTES).decode(errors="replace").removeprefix("\ufeff")
    lines = (line.strip() for line in head.splitlines())
    return is_url(next((line for line in lines if line and not line.startswith(_COMMENT)), ""))


def from_url_file(path: Path, fetcher: Fetcher, *, limit: int | None = None) -> UrlsSource:
    """A file with one URL per line. Blocking: counts the lines. Raises UnreadableSource."""
    if not os.access(path, os.R_OK):
        raise UnreadableSource(f"{path}: cannot be read; check the path and its permissions")

    def lines() -> Generator[str, None, None]:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            yield from file

    count = sum(bool(line.strip()) and not line.strip().startswith(_COMMENT) for line in lines())
    return UrlsSource(lines, fetcher, count=count, limit=limit)


def from_lines(lines: TextIO, fetcher: Fetcher, *, limit: int | None = None) -> UrlsSource:
    """One URL or path per line, read as they arrive (`find … | sightline ingest -`)."""
    return UrlsSource(lambda: lines, fetcher, limit=limit, paths=True)


def from_urls(
    urls: Iterable[str],
    fetcher: Fetcher,
    *,
    limit: int | None = None,
    stable_name: StableName = redacted,
    on_offer: OnOffer | None = None,
) -> UrlsSource:
    listed = list(urls)
    return UrlsSource(
        lambda: listed, fetcher, count=len(listed), limit=limit, stable_name=stable_name, on_offer=on_offer
    )
