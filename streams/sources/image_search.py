"""Image-search APIs described as data: the URL to request, the key, and the paths of pictures' URLs in the answer.

`apis.json` holds the description of Pixabay; a configuration adds others under `[apis.NAME]`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from string import Formatter
from typing import Annotated, Any
from urllib.parse import quote
from uuid import uuid4

import msgspec
from msgspec import Meta, Struct

from streams.errors import Unavailable
from streams.sources.fetcher import Fetcher
from streams.sources.json_path import check_path, pick, pick_text
from streams.sources.source import UnreadableSource
from streams.sources.url_guard import ForbiddenUrl
from streams.sources.urls import is_url

_SLOTS = frozenset({"key", "query", "page", "per_page"})
_MAX_ANSWER_BYTES = 8 << 20
_MAX_URL_CHARACTERS = 2048
_ADVICE = "check the description of the API, its key, and the request limits in its terms"


class ImageSearch(Struct, frozen=True, kw_only=True):
    """`[apis.NAME]`: an API that answers a query with JSON."""

    url: str
    """URL of a request, with `{query}`, and where the API has them `{key}`, `{page}`, `{per_page}`."""
    picture: str
    """Path of a picture's URL inside one result."""
    results: str = ""
    """Path of the list of results in the answer; empty if the answer is the list."""
    title: str = ""
    """Path of the picture's title inside one result."""
    link: str = ""
    """Path of the page that shows the picture."""
    credit: str = ""
    """Path of the author's name."""
    key_env: str = ""
    """Environment variable that holds the key. The key itself is never written anywhere."""
    headers: dict[str, str] = {}
    """Headers of a request; may contain `{key}`. Sent to the API's host only."""
    first_page: int = 1
    """Number of the first page."""
    pages: Annotated[int, Meta(ge=1)] = 1
    """Pages to request."""
    per_page: Annotated[int, Meta(ge=1)] = 20
    """Results to request per page."""
    most_query_characters: Annotated[int, Meta(ge=1)] = 100
    """Longest query that the API accepts; longer ones are cut."""
    cache_seconds: float = 0.0
    """How long an answer is kept and used again."""
    terms: str = ""
    """The API's terms of use, printed after each use."""

    def __post_init__(self) -> None:
        for path in (self.picture, self.results, self.title, self.link, self.credit):
            check_path(path)
        for name, template in (("url", self.url), *self.headers.items()):
            unknown = _slots(template) - _SLOTS
            if unknown:
                raise ValueError(
                    f"{name} contains {{{sorted(unknown)[0]}}}; use only {{{'}, {'.join(sorted(_SLOTS))}}}"
                )
        if not is_url(self.url) or "query" not in _slots(self.url):
            raise ValueError("url must begin with http:// or https:// and contain {query}")


def _slots(template: str) -> set[str]:
    try:
        return {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise ValueError(f"{template!r}: {error}") from None


@dataclass(frozen=True, slots=True)
class Result:
    """One picture of an answer; texts are as the API gives them, printable, empty if it gives none."""

    url: str
    title: str = ""
    link: str = ""
    credit: str = ""


@lru_cache(maxsize=1)
def shipped_apis() -> Mapping[str, ImageSearch]:
    """Descriptions by name."""
    raw = Path(__file__).with_name("apis.json").read_bytes()
    return msgspec.json.decode(raw, type=dict[str, ImageSearch])


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSearchClient:
    """Queries one API. `cache` is a folder of answers; without it none are cached."""

    name: str
    api: ImageSearch
    fetcher: Fetcher
    cache: Path | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def key(self) -> str:
        """The API's key, empty if it has none. Raises UnreadableSource naming the missing variable."""
        if not self.api.key_env:
            return ""
        if key := self.environment.get(self.api.key_env, "").strip():
            return key
        hint = f" ({self.api.terms})" if self.api.terms else ""
        raise UnreadableSource(
            f"{self.name}: the environment variable {self.api.key_env} is not set; set it to your key{hint}"
        )

    async def results(self, query: str) -> AsyncGenerator[Result, None]:
        """Pictures in the API's order, none twice. Raises UnreadableSource, whose message never contains the key."""
        key, seen = self.key(), set[str]()
        query = _shortened(query, self.api.most_query_characters)
        for page in range(self.api.first_page, self.api.first_page + self.api.pages):
            entries = await self._page(query, page, key)
            for entry in entries:
                url = pick(entry, self.api.picture)
                if isinstance(url, str) and is_url(url) and url not in seen and len(url) <= _MAX_URL_CHARACTERS:
                    seen.add(url)
                    yield self._result(url, entry)
            if len(entries) < self.api.per_page:
                return

    def _result(self, url: str, entry: Any) -> Result:
        api = self.api
        return Result(url, pick_text(entry, api.title), pick_text(entry, api.link), pick_text(entry, api.credit))

    async def _page(self, query: str, page: int, key: str) -> list[Any]:
        try:
            content = await self._answer(query, page, key)
            entries = pick(json.loads(content), self.api.results)
        except ForbiddenUrl as error:
            if page > self.api.first_page:
                return []  # some APIs answer 400 after their last page
            raise UnreadableSource(f"{self.name}: {_redact_key(key, str(error))}; {_ADVICE}") from None
        except Unavailable as error:
            raise UnreadableSource(f"{self.name}: {_redact_key(key, str(error))}; try again later") from None
        except ValueError:
            raise UnreadableSource(f"{self.name}: the answer is not JSON; {_ADVICE}") from None
        if not isinstance(entries, list):
            raise UnreadableSource(f"{self.name}: the answer has no list at {self.api.results!r}; {_ADVICE}")
        return entries

    async def _answer(self, query: str, page: int, key: str) -> bytes:
        path = self._cache_path(query, page)
        if path is not None and (content := await asyncio.to_thread(self._cached, path)) is not None:
            return content
        settings = msgspec.structs.replace(self.fetcher.settings, max_bytes=_MAX_ANSWER_BYTES)
        slots = {
            "query": quote(query, safe=""),
            "key": quote(key, safe=""),
            "page": page,
            "per_page": self.api.per_page,
        }
        headers = {name: text.format(**{**slots, "key": key}) for name, text in self.api.headers.items()}
        response = await replace(self.fetcher, settings=settings, headers=headers).get(self.api.url.format(**slots))
        json.loads(response.content)  # only JSON is cached
        if path is not None:
            await asyncio.to_thread(_write, path, response.content)
        return response.content

    def _cache_path(self, query: str, page: int) -> Path | None:
        """The cache file of an answer; its name does not depend on the key."""
        if self.cache is None or not self.api.cache_seconds:
            return None
        request = json.dumps([self.api.url, query, page, self.api.per_page])
        return self.cache / self.name / f"{hashlib.sha256(request.encode()).hexdigest()}.json"

    def _cached(self, path: Path) -> bytes | None:
        """The cached answer, unless it is too old."""
        try:
            if self.fetcher.clock.now() - path.stat().st_mtime <= self.api.cache_seconds:
                return path.read_bytes()
            path.unlink()
        except FileNotFoundError:
            pass
        return None


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid4().hex}")
    partial.write_bytes(content)
    partial.rename(path)


def _redact_key(key: str, message: str) -> str:
    """`message` without the key, which may be part of a URL's path."""
    for text in {key, quote(key, safe="")} if key else ():
        message = message.replace(text, "…")
    return message


def _shortened(query: str, max_characters: int) -> str:
    """The first whole words of `query`, at most `max_characters`."""
    if len(query) <= max_characters:
        return query
    return query[: max_characters + 1].rpartition(" ")[0] or query[:max_characters]
