"""Makes a source, and the name of its feed, from what a person types."""

from __future__ import annotations

import re
import sys
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from schemas.pictures import SIGNATURE_BYTES, picture_format
from streams.clock import Clock
from streams.sources.fetcher import Fetcher, FetchSettings
from streams.sources.images import from_files, from_folder, from_glob, is_animated_gif
from streams.sources.live import LiveSettings, LiveSource
from streams.sources.live_input import live_protocol
from streams.sources.objects import SCHEMES as OBJECT_SCHEMES
from streams.sources.objects import Listing, ObjectsSource
from streams.sources.playback import Playback, VideoSource
from streams.sources.source import Source, UnreadableSource
from streams.sources.url_guard import redacted
from streams.sources.urls import from_lines, from_url_file, from_urls, is_picture_url, is_url_list

STANDARD_INPUT = "-"
_SCHEMES = "rtsp, rtsps, http, https, s3, gs, az or file"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOptions:
    """How remote sources are read. An object store is listed every `follow_seconds` without end; None: once."""

    fetch: FetchSettings = field(default_factory=FetchSettings)
    follow_seconds: float | None = None


def choose_source(spec: str, playback: Playback, clock: Clock, remote: RemoteOptions | None = None) -> Source:
    """The source that `spec` names: a folder, a glob, a picture, a video file, a list of URLs in a file, the URL of a
    picture, the prefix of an object store (`s3://BUCKET/PREFIX`, `gs://`, `az://`, `file:///FOLDER`), a camera, or `-`
    for a list of paths and URLs on standard input.

    Cameras are `rtsp://…`, `http(s)://…` (`.m3u8` is HLS, else MJPEG), `/dev/videoN`, or N. Blocking: it reads files.
    Raises UnreadableSource with `spec` and what to do.
    """
    remote = remote or RemoteOptions()
    is_remote = not Path(spec).is_file()
    if is_remote and _is_object_url(spec):
        listing = Listing(follow_seconds=remote.follow_seconds, limit=playback.limit, at_once=remote.fetch.at_once)
        return ObjectsSource(spec, listing, clock)
    if remote.follow_seconds is not None:
        raise UnreadableSource(f"{redacted(spec)}: cannot be followed; only {', '.join(OBJECT_SCHEMES)}:// can")
    fetcher = Fetcher(remote.fetch, clock)
    if is_remote and is_picture_url(spec):
        return from_urls([spec], fetcher, limit=playback.limit)
    if is_remote and live_protocol(spec) is not None:
        settings = LiveSettings(fps=playback.fps, limit=playback.limit, quality=playback.quality)
        return LiveSource(spec, settings, clock)
    if "://" in spec:
        raise UnreadableSource(f"{redacted(spec)}: this kind of URL is not supported; use {_SCHEMES}")
    if spec == STANDARD_INPUT:
        return from_lines(sys.stdin, fetcher, limit=playback.limit)
    return _local(spec, playback, clock, fetcher)


def _local(spec: str, playback: Playback, clock: Clock, fetcher: Fetcher) -> Source:
    path = Path(spec).expanduser()
    try:
        if path.is_dir():
            return from_folder(path, limit=playback.limit)
        if not path.exists() and any(character in spec for character in "*?["):
            return from_glob(str(path), limit=playback.limit)
        with path.open("rb") as file:
            head = file.read(SIGNATURE_BYTES)
        if is_url_list(path):
            return from_url_file(path, fetcher, limit=playback.limit)
    except FileNotFoundError:
        raise UnreadableSource(f"{spec}: no such file or folder; check the path") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableSource(f"{spec}: cannot be read ({reason}); check the path and its permissions") from None
    image_format = picture_format(head)
    if image_format is not None and not (image_format == "gif" and is_animated_gif(path)):
        return from_files([path], limit=playback.limit)
    return VideoSource(path, playback, clock)


def _is_object_url(spec: str) -> bool:
    return "://" in spec and spec.partition("://")[0].lower() in OBJECT_SCHEMES


def feed_name(spec: str) -> str:
    """The default name of a feed: that of its file, folder or camera, in the characters that feeds may have."""
    if spec == STANDARD_INPUT:
        return "standard-input"
    if "://" in spec and (_is_object_url(spec) or is_picture_url(spec)):
        parts = urlsplit(redacted(spec))
        return slug(f"{parts.hostname or ''}{PurePosixPath(parts.path).with_suffix('')}")
    if live_protocol(spec) is not None and not Path(spec).is_file():
        return slug(_camera(spec))
    return slug(_local_name(Path(spec).expanduser()))


def _local_name(path: Path) -> str:
    """The name of a file or folder; of a glob, the last part without wildcards."""
    plain_parts = [part for part in path.parts if not any(character in part for character in "*?[")]
    plain = Path(*plain_parts) if plain_parts else Path()
    return plain.resolve().name if plain.is_dir() else plain.stem


def _camera(spec: str) -> str:
    """The host and path of a camera, without credentials."""
    if "://" not in spec:
        return f"camera-{spec.removeprefix('/dev/video')}"
    parts = urlsplit(redacted(spec))
    return f"{parts.hostname or 'camera'}{parts.path.removesuffix('.m3u8')}"


def slug(name: str) -> str:
    """`name` in the characters that feeds may have, at most 63."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"\.{2,}", ".", re.sub(r"[^a-z0-9._-]+", "-", plain)).strip("._-")[:63] or "feed"
