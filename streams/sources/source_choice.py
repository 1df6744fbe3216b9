"""From what a person types to a source and the name of its feed."""

from __future__ import annotations

import re
import sys
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from schemas.pictures import picture_format
from streams.clock import Clock
from streams.sources.fetcher import Fetcher, FetchSettings
from streams.sources.images import from_files, from_folder, from_glob
from streams.sources.live import LiveSettings, LiveSource
from streams.sources.live_input import live_protocol
from streams.sources.objects import SCHEMES as OBJECT_SCHEMES
from streams.sources.objects import Listing, ObjectsSource
from streams.sources.playback import Playback, VideoSource
from streams.sources.source import Source, UnreadableSource
from streams.sources.url_guard import redacted
from streams.sources.urls import from_listed, from_url_file, from_urls, is_picture_url, is_url_list

STANDARD_INPUT = "-"
_SCHEMES = "rtsp, rtsps, http, https, s3, gs, az or file"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOptions:
    """How what lies elsewhere is read; `follow_seconds` looks into an object store again after so long, for ever."""

    fetch: FetchSettings = field(default_factory=FetchSettings)
    follow_seconds: float | None = None


def choose_source(spec: str, playback: Playback, clock: Clock, remote: RemoteOptions | None = None) -> Source:
    """A folder, a glob, a picture, a video file; `-` for a list of pictures and URLs on standard input; a list of URLs
    in a file; a picture's URL; an object store's prefix (`s3://BUCKET/PREFIX`, `gs://`, `az://`, `file:///FOLDER`);
    or a camera.

    Cameras are `rtsp://…`, `http(s)://…` (`.m3u8` is HLS, else MJPEG), `/dev/videoN`, or N. Raises UnreadableSource,
    naming what was typed and the way out. Blocking: it looks at files.
    """
    remote = remote or RemoteOptions()
    elsewhere = not Path(spec).is_file()
    if elsewhere and _object_scheme(spec):
        listing = Listing(follow_seconds=remote.follow_seconds, limit=playback.limit, at_once=remote.fetch.at_once)
        return ObjectsSource(spec, listing, clock)
    if remote.follow_seconds is not None:
        raise UnreadableSource(f"{redacted(spec)}: cannot be followed; only {', '.join(OBJECT_SCHEMES)}:// can")
    fetcher = Fetcher(remote.fetch, clock)
    if elsewhere and is_picture_url(spec):
        return from_urls([spec], fetcher, limit=playback.limit)
    if elsewhere and live_protocol(spec) is not None:
        settings = LiveSettings(fps=playback.fps, limit=playback.limit, quality=playback.quality)
        return LiveSource(spec, settings, clock)
    if "://" in spec:
        raise UnreadableSource(f"{redacted(spec)}: not a URL we open; use {_SCHEMES}")
    if spec == STANDARD_INPUT:
        return from_listed(sys.stdin, fetcher, limit=playback.limit)
    return _local(spec, playback, clock, fetcher)


def _local(spec: str, playback: Playback, clock: Clock, fetcher: Fetcher) -> Source:
    path = Path(spec).expanduser()
    try:
        if path.is_dir():
            return from_folder(path, limit=playback.limit)
        if not path.exists() and any(character in spec for character in "*?["):
            return from_glob(str(path), limit=playback.limit)
        with path.open("rb") as file:
            head = file.read(12)
        if is_url_list(path):
            return from_url_file(path, fetcher, limit=playback.limit)
    except FileNotFoundError:
        raise UnreadableSource(f"{spec}: no such file or folder; check the path") from None
    except (OSError, ValueError) as refused:
        reason = getattr(refused, "strerror", None) or refused
        raise UnreadableSource(f"{spec}: cannot be read ({reason}); check the path and its permissions") from None
    if picture_format(head) is not None:
        return from_files([path], limit=playback.limit)
    return VideoSource(path, playback, clock)


def _object_scheme(spec: str) -> bool:
    return "://" in spec and spec.partition("://")[0].lower() in OBJECT_SCHEMES


def feed_name(spec: str) -> str:
    """A feed's default name: the file's or folder's own, in the letters that feeds may have."""
    if spec == STANDARD_INPUT:
        return "standard-input"
    if "://" in spec and (_object_scheme(spec) or is_picture_url(spec)):
        place = urlsplit(redacted(spec))
        return slug(f"{place.hostname or ''}{PurePosixPath(place.path).with_suffix('')}")
    if live_protocol(spec) is not None and not Path(spec).is_file():
        return slug(_camera(spec))
    path = Path(spec).expanduser()
    parts = [part for part in path.parts if not any(character in part for character in "*?[")]
    known = Path(*parts) if parts else Path()
    name = known.resolve().name if known.is_dir() else known.stem
    return slug(name)


def _camera(spec: str) -> str:
    """A camera's host and path, without its credentials."""
    if "://" not in spec:
        return f"camera-{spec.removeprefix('/dev/video')}"
    parts = urlsplit(redacted(spec))
    return f"{parts.hostname or 'camera'}{parts.path.removesuffix('.m3u8')}"


def slug(name: str) -> str:
    """A name in the letters that feeds may have."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"\.{2,}", ".", re.sub(r"[^a-z0-9._-]+", "-", plain)).strip("._-")[:63] or "feed"
