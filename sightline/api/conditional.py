"""HEAD, validators and byte ranges for whatever the routes answer (RFC 9110, sections 9.3.2, 13 and 14).

Pictures have strong validators and ranges. Everything else may be compressed, so its validator is a weak one. Streams
pass unchanged.
"""

from __future__ import annotations

import asyncio
import re
from hashlib import sha256
from typing import Any

from litestar.config.compression import CompressionConfig
from litestar.middleware.compression import CompressionMiddleware
from litestar.types import ASGIApp, Message, Receive, Send

REVALIDATED = b"private, no-cache"
"""For answers of a route that names no policy of its own."""
UNCOMPRESSED = [r"^/api/events$", r"^/api/frames/[^/]+/(image|thumbnail|annotated)$"]
"""Paths of a stream that must not be held back, and of pictures, which are compressed already."""
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
Headers = dict[bytes, bytes]


def negotiated(app: ASGIApp) -> ASGIApp:
    """`app` with all of this and compression around it."""
    compression = CompressionConfig(backend="gzip", gzip_compress_level=6, exclude=UNCOMPRESSED)
    return _head(CompressionMiddleware(_conditional(app), compression))


def _head(app: ASGIApp) -> ASGIApp:
    """HEAD is answered as GET, without the content; a stream ends with its headers."""

    async def answer(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await app(scope, receive, send)
            return

        is_stream = False

        async def without_content(message: Message) -> None:
            nonlocal is_stream
            if message["type"] == "http.response.body":
                is_stream = bool(message.get("more_body"))
                message = {**message, "body": b"", "more_body": False}
            await send(message)
            if is_stream:
                answering.cancel()

        asked: Any = {**scope, "method": "GET"}
        answering = asyncio.ensure_future(app(asked, receive, without_content))
        try:
            await answering
        except asyncio.CancelledError:
            answering.cancel()
            if not is_stream:
                raise

    return answer


def _conditional(app: ASGIApp) -> ASGIApp:
    """Answers `If-None-Match` with 304 and `Range` with 206 or 416."""

    async def answer(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await app(scope, receive, send)
            return
        asked = dict(scope["headers"])
        start: Any = None

        async def sending(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and message["status"] == 200:
                start = message
            elif start is not None and message["type"] == "http.response.body":
                if not message.get("more_body"):
                    message = {**message, "body": _chosen(asked, start, message["body"])}
                await send(start)
                start = None
                await send(message)
            else:
                await send(message)

        await app(scope, receive, sending)

    return answer


def _chosen(asked: Headers, start: Any, content: bytes) -> bytes:
    """The content to be sent; sets status and headers of `start`."""
    headers: Headers = dict(start["headers"])
    is_picture = headers.get(b"content-type", b"").startswith(b"image/") and b"svg" not in headers[b"content-type"]
    tag = headers.setdefault(b"etag", _tag(content, weak=not is_picture))
    headers.setdefault(b"cache-control", REVALIDATED)
    if is_picture:
        headers[b"accept-ranges"] = b"bytes"
    if _is_known(tag, asked.get(b"if-none-match", b"")):
        start["status"], content = 304, b""
        del headers[b"content-type"]
    elif is_picture and asked.get(b"if-range", tag) == tag:
        content = _part(asked.get(b"range", b""), start, headers, content)
    headers[b"content-length"] = str(len(content)).encode()
    if start["status"] == 304:
        del headers[b"content-length"]
    start["headers"] = list(headers.items())
    return content


def _part(range_header: bytes, start: Any, headers: Headers, content: bytes) -> bytes:
    """A single range; several, and what is none, are answered with everything."""
    asked = _RANGE.fullmatch(range_header.decode("latin-1").strip())
    if asked is None or not (asked[1] or asked[2]):
        return content
    size = len(content)
    first = int(asked[1]) if asked[1] else max(0, size - int(asked[2]))
    last = min(size - 1, int(asked[2])) if asked[1] and asked[2] else size - 1
    if asked[1] and asked[2] and int(asked[2]) < first:
        return content
    if first > last:
        start["status"] = 416
        headers[b"content-range"] = f"bytes */{size}".encode()
        return b""
    start["status"] = 206
    headers[b"content-range"] = f"bytes {first}-{last}/{size}".encode()
    return content[first : last + 1]


def _tag(content: bytes, *, weak: bool) -> bytes:
    return f'{"W/" if weak else ""}"{sha256(content).hexdigest()[:24]}"'.encode()


def _is_known(tag: bytes, known: bytes) -> bool:
    """The weak comparison, as `If-None-Match` wants it."""
    tags = {entry.strip().removeprefix(b"W/") for entry in known.split(b",")}
    return b"*" in tags or tag.removeprefix(b"W/") in tags
