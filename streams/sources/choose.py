"""From what a person types to a source and the name of its feed."""

from __future__ import annotations

import re
import sys
import unicodedata
from pathlib import Path
from urllib.parse import urlsplit

from schemas.pictures import picture_format
from streams.clock import Clock
from streams.sources.images import from_files, from_folder, from_glob, from_list
from streams.sources.live import LiveSettings, LiveSource
from streams.sources.live_input import live_protocol
from streams.sources.play import Playback, VideoSource
from streams.sources.source import Source, UnreadableSource
from streams.sources.url_guard import redacted

STANDARD_INPUT = "-"


def choose_source(spec: str, playback: Playback, clock: Clock) -> Source:
    """A folder, a glob, a picture, a video file, `-` for a list of pictures on standard input, or a camera.

    Cameras are `rtsp://…`, `http(s)://…` (`.m3u8` is HLS, else MJPEG), `/dev/videoN`, or N. Raises UnreadableSource,
    naming what was typed and the way out. Blocking: it looks at files.
    """
    if live_protocol(spec) is not None and not Path(spec).is_file():
        settings = LiveSettings(fps=playback.fps, limit=playback.limit, quality=playback.quality)
        return LiveSource(spec, settings, clock)
    if "://" in spec:
        raise UnreadableSource(f"{redacted(spec)}: not a URL we open; use rtsp, rtsps, http or https")
    if spec == STANDARD_INPUT:
        return from_list(sys.stdin, limit=playback.limit)
    path = Path(spec).expanduser()
    try:
        if path.is_dir():
            return from_folder(path, limit=playback.limit)
        if not path.exists() and any(character in spec for character in "*?["):
            return from_glob(str(path), limit=playback.limit)
        with path.open("rb") as file:
            head = file.read(12)
    except FileNotFoundError:
        raise UnreadableSource(f"{spec}: no such file or folder; check the path") from None
    except (OSError, ValueError) as refused:
        reason = getattr(refused, "strerror", None) or refused
        raise UnreadableSource(f"{spec}: cannot be read ({reason}); check the path and its permissions") from None
    if picture_format(head) is not None:
        return from_files([path], limit=playback.limit)
    return VideoSource(path, playback, clock)


def feed_name(spec: str) -> str:
    """A feed's default name: the file's or folder's own, in the letters that feeds may have."""
    if spec == STANDARD_INPUT:
        return "standard-input"
    if live_protocol(spec) is not None and not Path(spec).is_file():
        return _slug(_camera(spec))
    path = Path(spec).expanduser()
    parts = [part for part in path.parts if not any(character in part for character in "*?[")]
    known = Path(*parts) if parts else Path()
    name = known.resolve().name if known.is_dir() else known.stem
    return _slug(name)


def _camera(spec: str) -> str:
    """A camera's host and path, without its credentials."""
    if "://" not in spec:
        return f"camera-{spec.removeprefix('/dev/video')}"
    parts = urlsplit(redacted(spec))
    return f"{parts.hostname or 'camera'}{parts.path.removesuffix('.m3u8')}"


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"\.{2,}", ".", re.sub(r"[^a-z0-9._-]+", "-", plain)).strip("._-")[:63]
    return slug or "feed"
