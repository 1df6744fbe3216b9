"""Makes a source from what a person types."""

from __future__ import annotations

import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path

from schemas.pictures import SIGNATURE_BYTES, picture_format
from streams.clock import Clock
from streams.sources.exclusion import Exclusion
from streams.sources.feed_names import STANDARD_INPUT
from streams.sources.fetcher import Fetcher, FetchSettings
from streams.sources.images import from_files, from_folder, from_glob, is_animated_gif
from streams.sources.live import LiveSettings, LiveSource
from streams.sources.live_input import live_protocol
from streams.sources.objects import SCHEMES as OBJECT_SCHEMES
from streams.sources.objects import Listing, ObjectsSource, is_object_url
from streams.sources.playback import Playback, VideoSource
from streams.sources.source import Source, UnreadableSource
from streams.sources.url_guard import redacted
from streams.sources.urls import from_lines, from_url_file, from_urls, is_picture_url, is_url_list

_SCHEMES = "rtsp, rtsps, http, https, s3, gs, az or file"


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOptions:
    """How remote sources are read. An object store is listed every `follow_seconds` without end; None: once."""

    fetch: FetchSettings = field(default_factory=FetchSettings)
    follow_seconds: float | None = None


def choose_source(
    spec: str,
    playback: Playback,
    clock: Clock,
    remote: RemoteOptions | None = None,
    exclude: Sequence[str] = (),
) -> Source:
    """The source that `spec` names: a folder, a glob, a picture, a video file, a list of URLs in a file, the URL of a
    picture, the prefix of an object store (`s3://BUCKET/PREFIX`, `gs://`, `az://`, `file:///FOLDER`), a camera, or `-`
    for a list of paths and URLs on standard input.

    Of folders, globs and prefixes, files that match a pattern of `exclude` or of the defaults are left out.
    Cameras are `rtsp://…`, `http(s)://…` (`.m3u8` is HLS, else MJPEG), `/dev/videoN`, or N. Blocking: it reads files.
    Raises UnreadableSource with `spec` and what to do.
    """
    remote, exclusion = remote or RemoteOptions(), Exclusion(tuple(exclude))
    is_remote = not _is_file(spec)
    if is_remote and is_object_url(spec):
        listing = Listing(follow_seconds=remote.follow_seconds, limit=playback.limit, at_once=remote.fetch.at_once)
        return ObjectsSource(spec, listing, clock, exclusion)
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
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # names of files need not be text
        return from_lines(sys.stdin, fetcher, limit=playback.limit)
    return _local(spec, playback, clock, fetcher, exclusion)


def _is_file(spec: str) -> bool:
    try:
        return Path(spec).is_file()
    except OSError:  # below a folder that may not be entered
        return False


def _local(spec: str, playback: Playback, clock: Clock, fetcher: Fetcher, exclusion: Exclusion) -> Source:
    path = Path(spec).expanduser()
    try:
        if not path.exists() and any(character in spec for character in "*?["):
            return from_glob(str(path), limit=playback.limit, exclusion=exclusion)
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return from_folder(path, limit=playback.limit, exclusion=exclusion)
        if not stat.S_ISREG(mode):  # opening a named pipe would wait for its writer
            advice = f"give a file or a folder, or {STANDARD_INPUT} for a list of paths on standard input"
            raise UnreadableSource(f"{spec}: not a regular file; {advice}")
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
