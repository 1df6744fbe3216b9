"""Opens URLs for FFmpeg, so that it opens none itself: the guard checks each URL and names the addresses to connect to.

A foreign playlist may name any host, and FFmpeg would fetch from it.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit

from streams.errors import Unavailable
from streams.sources.url_guard import CheckedUrl, ForbiddenUrl, redacted

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
Check = Callable[[str], CheckedUrl]
"""Blocking: checks a URL and gives its addresses. Raises ForbiddenUrl."""


class Incoming:
    """A response as a file that FFmpeg can read; a read returns as soon as any bytes are there."""

    def __init__(
        self,
        connection: http.client.HTTPConnection,
        wire: socket.socket,
        response: http.client.HTTPResponse,
        closed: Callable[[Incoming], None],
    ) -> None:
        self._connection = connection
        self._wire = wire
        self._response = response
        self._closed = closed

    @property
    def content_type(self) -> str:
        """The answer's media type in lower case, without parameters; empty if it names none."""
        return self._response.headers.get_content_type() if "Content-Type" in self._response.headers else ""

    @property
    def boundary(self) -> str:
        """The line that the answer announces between the parts of a multipart stream; empty if it announces none."""
        return self._response.headers.get_boundary() or ""

    def read(self, size: int) -> bytes:
        return self._response.read1(size)

    def interrupt(self) -> None:
        """From any thread: end a read that waits for the server."""
        with contextlib.suppress(OSError):
            self._wire.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._response.close()
        self._connection.close()
        self._closed(self)


class GuardedIo:
    """`credentials` (user, password) are sent to `origin` only, never to the target of a playlist or redirect."""

    def __init__(self, check: Check, timeout_seconds: float, origin: str, credentials: tuple[str, str] | None) -> None:
        self._check = check
        self._timeout_seconds = timeout_seconds
        self._origin = _origin(origin)
        self._credentials = credentials
        self._open: set[Incoming] = set()

    def close(self) -> None:
        """Close the responses that FFmpeg left open, as it does when opening fails half-way."""
        for incoming in tuple(self._open):
            incoming.close()

    def interrupt(self) -> None:
        """From any thread: end every read that waits for a server."""
        for incoming in tuple(self._open):
            incoming.interrupt()

    def __call__(self, url: str, flags: int = 0, options: dict[str, Any] | None = None) -> Incoming:
        """PyAV's `io_open`. Raises ForbiddenUrl, Unavailable."""
        for _ in range(_MAX_REDIRECTS + 1):
            checked = self._check(url)
            try:
                connection, wire, response = self._get(checked)
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "strerror", None) or type(error).__name__
                raise Unavailable(f"{redacted(url)}: {reason}") from None
            if response.status == 200:
                incoming = Incoming(connection, wire, response, self._open.discard)
                self._open.add(incoming)
                return incoming
            connection.close()
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or location is None:
                raise Unavailable(f"{redacted(url)}: answers {response.status} {response.reason[:60]}")
            url = urljoin(url, location)
        raise ForbiddenUrl(f"{redacted(url)}: more than {_MAX_REDIRECTS} redirects")

    def _get(self, checked: CheckedUrl) -> tuple[http.client.HTTPConnection, socket.socket, http.client.HTTPResponse]:
        parts = urlsplit(checked.url)
        connection = http.client.HTTPConnection(checked.host, checked.port, timeout=self._timeout_seconds)
        connection.sock = socket.create_connection((str(checked.addresses[0]), checked.port), self._timeout_seconds)
        path = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        try:
            if parts.scheme == "https":
                secure = ssl.create_default_context()
                connection.sock = secure.wrap_socket(connection.sock, server_hostname=checked.host)
            wire = connection.sock  # the connection forgets it when the server is to close it
            connection.request("GET", path, headers=self._headers(checked.url))
            return connection, wire, connection.getresponse()
        except BaseException:
            connection.close()
            raise

    def _headers(self, url: str) -> dict[str, str]:
        if self._credentials is None or _origin(url) != self._origin:
            return {}
        return {"Authorization": f"Basic {base64.b64encode(':'.join(self._credentials).encode()).decode()}"}


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def without_credentials(url: str) -> tuple[str, tuple[str, str] | None]:
    """The URL without its user and password, and these two. Raises ForbiddenUrl if it cannot be parsed."""
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
        authority = f"{host}:{parts.port}" if parts.port else host
    except ValueError:
        raise _unparsable(url) from None
    if parts.username is None:
        if "@" in parts.fragment or (":" in parts.netloc and "@" in parts.path + parts.query):
            raise _unparsable(url)  # what stands before the `@` is more likely a password than a port and a path
        return url, None
    plain = urlunsplit((parts.scheme, authority, parts.path, parts.query, parts.fragment))
    return plain, (unquote(parts.username), unquote(parts.password or ""))


def _unparsable(url: str) -> ForbiddenUrl:
    advice = "write special characters of a password as %XX: # is %23, / is %2F, ? is %3F, @ is %40"
    return ForbiddenUrl(f"{redacted(url)}: not a valid URL; {advice}")
