"""What an HTTP URL that names a camera answers: pictures one after another, a playlist, or something else."""

from __future__ import annotations

from schemas.pictures import picture_format
from streams.sources.guarded_io import GuardedIo, Incoming
from streams.sources.mjpeg import JpegStream, looks_like_multipart
from streams.sources.source import UnreadableSource
from streams.sources.url_guard import redacted

_HEAD_BYTES = 4096
_PLAYLIST = b"#EXTM3U"


class NotAStream(UnreadableSource):
    """The URL answers with something that is not live; the message names its content type and the way out."""


def open_camera(url: str, guarded: GuardedIo) -> JpegStream | None:
    """The pictures of an MJPEG camera; None for an HLS playlist. Raises NotAStream and the errors of `guarded`."""
    incoming = guarded(url)
    head = _head(incoming)
    if incoming.content_type.startswith("multipart/") or looks_like_multipart(head):
        return JpegStream(incoming, head, incoming.boundary)
    if head.startswith(_PLAYLIST):
        incoming.close()
        return None
    raise NotAStream(_advice(redacted(url), incoming.content_type, head))


def _head(incoming: Incoming) -> bytes:
    """The first bytes, at least a line of them if there is one."""
    head = b""
    while b"\n" not in head.lstrip(b"\r\n") and len(head) < _HEAD_BYTES and (chunk := incoming.read(_HEAD_BYTES)):
        head += chunk
    return head


def _advice(shown: str, content_type: str, head: bytes) -> str:
    came = content_type or "no content type"
    if picture_format(head) is not None or content_type.startswith("image/"):
        return (
            f"{shown}: sends one picture ({came}), not a stream; to ingest it: echo URL | sightline ingest -; "
            "for a camera, give the URL of its MJPEG, HLS or RTSP stream"
        )
    if content_type.startswith(("video/", "audio/")) or head[4:8] == b"ftyp":
        return f"{shown}: sends a file ({came}), not a stream; download it and ingest the file"
    return f"{shown}: sends {came}, not a stream; give the URL of the camera's MJPEG (multipart), HLS or RTSP stream"
