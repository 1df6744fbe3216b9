"""The options by which `sightline forget` selects frames."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from schemas.identity import check_name
from search.query import BadQuery, parse_time, parse_until
from sightline.config import Config
from sightline.terminal.frame_ids import check_frame_ids
from sightline.terminal.options import UsageError
from streams.lifecycle.frame_search import FrameSelection

STANDARD_INPUT = "-"
NEAR_SCORE = 0.95
"""The same picture in another size or quality is above it; another scene is far below."""


@dataclass(frozen=True, slots=True)
class FrameSelectors:
    """Options that select frames; together they narrow the selection."""

    ids: Annotated[Path | None, typer.Option(help="File with a frame id per line; - is standard input.")] = None
    feed: Annotated[list[str] | None, typer.Option(help="Only frames of this feed. Repeatable.")] = None
    since: Annotated[
        str, typer.Option(help="Only frames captured at or after this time: 2h, 3d, or a date, from its start.")
    ] = ""
    until: Annotated[
        str, typer.Option(help="Only frames captured before this time: 2h, 3d, or a date, to its end.")
    ] = ""
    picture: Annotated[Path | None, typer.Option(help="Only frames with exactly this picture: a file.")] = None
    near: Annotated[
        bool, typer.Option("--near", help="With --picture: also frames whose picture looks like it; needs --yes.")
    ] = False
    near_score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="With --near: the least similarity (cosine of the embeddings).")
    ] = NEAR_SCORE
    tenant: Annotated[
        str, typer.Option(help="Only frames of this tenant, and all of them where nothing else selects.")
    ] = ""
    every: Annotated[bool, typer.Option("--all", help="All frames of the tenant.")] = False

    def selection(self, config: Config, frames: list[str]) -> FrameSelection:
        """Raises UsageError, CommandError."""
        listed = [*frames, *(_listed(self.ids) if self.ids else ())]
        if self.ids and not listed:
            raise UsageError(f"{self.ids} holds no frame id")
        if self.near and not self.picture:
            raise UsageError("--near compares with a picture: name it with --picture FILE")
        now = datetime.now(UTC)
        try:
            since = parse_time(self.since, now, config.zone) if self.since else None
            until = parse_until(self.until, now, config.zone) if self.until else None
        except BadQuery as error:
            raise UsageError(str(error)) from None
        if since and until and since >= until:
            raise UsageError(f"--since {self.since} is not before --until {self.until}: no frame lies between")
        if not (listed or self.feed or since or until or self.picture or self.tenant or self.every):
            raise UsageError(
                "name frames, or select by --ids, --feed, --since, --until, --picture, --tenant; --all selects all"
            )
        return FrameSelection(
            tenant=_name("tenant", self.tenant) if self.tenant else config.tenant,
            frames=frozenset(check_frame_ids(listed)),
            feeds=frozenset(_name("feed", feed) for feed in self.feed or ()),
            since=since,
            until=until,
            sha256=_sha256(self.picture) if self.picture else "",
        )


def _name(kind: Literal["tenant", "feed"], name: str) -> str:
    try:
        return check_name(kind, name)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _listed(path: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(path) == STANDARD_INPUT else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    return text.split()


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
