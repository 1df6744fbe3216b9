"""Image-search APIs as data: where to ask, with which key, and where in the answer the pictures' URLs stand.

Pixabay's description is shipped in `apis.json`; a configuration adds others under `[apis.NAME]`.
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
_MOST_ANSWER_BYTES = 8 << 20
_MOST_URL_CHARACTERS = 2048
_WAY_OUT = "check the description of the API, its key, and whether its terms allow so many requests"


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
                    f"{name} has {{{sorted(unknown)[0]}}}; only {{{'}, {'.join(sorted(_SLOTS))}}} are filled"
                )
        if not is_url(self.url) or "query" not in _slots(self.url):
            raise ValueError("url has to be http(s):// with a {query} in it")


def _slots(template: str) -> set[str]:
    try:
        return {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as wrong:
        raise ValueError(f"{template!r}: {wrong}") from None


@dataclass(frozen=True, slots=True)
class Result:
    """One picture that an API knows; texts are as the API gives them, printable, empty where it gives none."""

    url: str
    title: str = ""
    link: str = ""
    credit: str = ""


@lru_cache(maxsize=1)
def shipped() -> Mapping[str, ImageSearch]:
    raw = Path(__file__).with_name("apis.json").read_bytes()
    return msgspec.json.decode(raw, type=dict[str, ImageSearch])


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Asks one API. `cache` is a folder of answers, none where nothing is kept."""

    name: str
    api: ImageSearch
    fetcher: Fetcher
    cache: Path | None = None
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def key(self) -> str:
        """Raises UnreadableSource naming the variable."""
        if not self.api.key_env:
            return ""
        if key := self.environment.get(self.api.key_env, "").strip():
            return key
        hint = f" ({self.api.terms})" if self.api.terms else ""
        raise UnreadableSource(f"{self.name}: the environment has no {self.api.key_env}; set it to your key{hint}")

    async def results(self, query: str) -> AsyncGenerator[Result, None]:
        """Pictures in the API's order, none twice. Raises UnreadableSource, which never holds the key."""
        key, seen = self.key(), set[str]()
        query = _shortened(query, self.api.most_query_characters)
        for page in range(self.api.first_page, self.api.first_page + self.api.pages):
            listed = await self._page(query, page, key)
            for one in listed:
                url = pick(one, self.api.picture)
                if isinstance(url, str) and is_url(url) and url not in seen and len(url) <= _MOST_URL_CHARACTERS:
                    seen.add(url)
                    api = self.api
                    yield Result(url, pick_text(one, api.title), pick_text(one, api.link), pick_text(one, api.credit))
            if len(listed) < self.api.per_page:
                return

    async def _page(self, query: str, page: int, key: str) -> list[Any]:
        try:
            content = await self._answer(query, page, key)
            found = pick(json.loads(content), self.api.results)
        except ForbiddenUrl as refused:
            if page > self.api.first_page:
                return []  # some answer 400 behind their last page
            raise UnreadableSource(f"{self.name}: {_without(key, str(refused))}; {_WAY_OUT}") from None
        except Unavailable as away:
            raise UnreadableSource(f"{self.name}: {_without(key, str(away))}; try again later") from None
        except ValueError:
            raise UnreadableSource(f"{self.name}: the answer is no JSON; {_WAY_OUT}") from None
        if not isinstance(found, list):
            raise UnreadableSource(f"{self.name}: the answer has no list at {self.api.results!r}; {_WAY_OUT}")
        return found

    async def _answer(self, query: str, page: int, key: str) -> bytes:
        kept = self._kept(query, page)
        if kept is not None and (content := await asyncio.to_thread(self._fresh, kept)) is not None:
            return content
        settings = msgspec.structs.replace(self.fetcher.settings, max_bytes=_MOST_ANSWER_BYTES)
        slots = {
            "query": quote(query, safe=""),
            "key": quote(key, safe=""),
            "page": page,
            "per_page": self.api.per_page,
        }
        headers = {name: text.format(**{**slots, "key": key}) for name, text in self.api.headers.items()}
        fetched = await replace(self.fetcher, settings=settings, headers=headers).get(self.api.url.format(**slots))
        json.loads(fetched.content)  # what is no answer is not kept
        if kept is not None:
            await asyncio.to_thread(_keep, kept, fetched.content)
        return fetched.content

    def _kept(self, query: str, page: int) -> Path | None:
        """Where the answer lies; the name holds no key."""
        if self.cache is None or not self.api.cache_seconds:
            return None
        asked = json.dumps([self.api.url, query, page, self.api.per_page])
        return self.cache / self.name / f"{hashlib.sha256(asked.encode()).hexdigest()}.json"

    def _fresh(self, kept: Path) -> bytes | None:
        try:
            if self.fetcher.clock.now() - kept.stat().st_mtime <= self.api.cache_seconds:
                return kept.read_bytes()
            kept.unlink()
        except FileNotFoundError:
            pass
        return None


def _keep(kept: Path, content: bytes) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_name(f".{uuid4().hex}")
    partial.write_bytes(content)
    partial.rename(kept)


def _without(key: str, message: str) -> str:
    """The key may stand in a URL's path, which is shown."""
    for text in {key, quote(key, safe="")} if key else ():
        message = message.replace(text, "…")
    return message


def _shortened(query: str, most_characters: int) -> str:
    """Whole words, as many as the API takes."""
    if len(query) <= most_characters:
        return query
    return query[: most_characters + 1].rpartition(" ")[0] or query[:most_characters]
