"""A web server for tests, in threads of its own: pictures, pictures that fail in various ways, an image-search API.

The API is shaped like Pixabay's: GET /api/?key&q&page&per_page → {"total", "totalHits", "hits": [{…}]}.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

KEY = "very-secret-key"
ALLOWED = ("127.0.0.1/32",)
"""Networks that a configuration has to allow, so that this machine may be fetched from."""


@dataclass
class PictureServer:
    """`pictures` by name at `/pictures/NAME`; `/flaky/N/NAME` answers 503 N times before; `/moved/NAME` redirects;
    `/together/NAME` answers when `together` requests for such pictures are waiting.
    """

    pictures: dict[str, bytes]
    searched: dict[str, Sequence[str]] = field(default_factory=dict)
    """Query → names of pictures, in the order of the response; `*` is any other query."""
    asked: Counter[str] = field(default_factory=Counter)
    """Requests by path and query."""
    headers: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Headers of the last request, by path and query."""
    together: threading.Barrier = field(default_factory=lambda: threading.Barrier(1))
    most_at_once: int = 0
    port: int = 0
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def answer(self, target: str) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers, body."""
        parts = urlsplit(target)
        with self._lock:
            self.asked[target] += 1
            times = self.asked[target]
        match parts.path.strip("/").split("/"):
            case ["flaky", failures, name] if times <= int(failures):
                return 503, {}, b""
            case ["flaky", _, name] | ["pictures", name] if name in self.pictures:
                return 200, {}, self.pictures[name]
            case ["together", name]:
                self.together.wait(timeout=60)
                return 200, {}, self.pictures[name]
            case ["moved", name]:
                return 302, {"Location": f"/pictures/{name}"}, b""
            case ["away"]:
                return 302, {"Location": "http://127.0.0.2:9/"}, b""
            case ["api"]:
                return self._search({name: values[0] for name, values in parse_qs(parts.query).items()})
        return 404, {}, b"no such page"

    def _search(self, asked: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        if asked.get("key") != KEY:
            return 400, {}, b"[ERROR 400] Invalid or missing API key"
        names = self.searched.get(asked["q"], self.searched.get("*", ()))
        first = (int(asked["page"]) - 1) * int(asked["per_page"])
        if first and first >= len(names):
            return 400, {}, b'[ERROR 400] "page" is out of valid range.'
        shown = names[first : first + int(asked["per_page"])]
        hits = [
            {
                "id": number,
                "pageURL": self.url(f"/photos/{name}"),
                "tags": f"{name}, test",
                "largeImageURL": self.url(f"/pictures/{name}"),
                "user": f"user of {name}",
            }
            for number, name in enumerate(shown, first)
        ]
        body = json.dumps({"total": len(names), "totalHits": len(names), "hits": hits}).encode()
        return 200, {"Content-Type": "application/json"}, body

    def enter(self) -> None:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)

    def leave(self) -> None:
        with self._lock:
            self._at_once -= 1


@contextmanager
def picture_server(
    pictures: Mapping[str, bytes], searched: Mapping[str, Sequence[str]] | None = None
) -> Iterator[PictureServer]:
    shown = PictureServer(dict(pictures), dict(searched or {}))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            shown.enter()
            shown.headers[self.path] = dict(self.headers)
            status, headers, body = shown.answer(self.path)
            shown.leave()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's name
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    shown.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, name="picture-server", kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield shown
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
