"""The page's files, read once; only these are served."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from typing import Any

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
_PAGE = files("sightline.page")
_FILES: dict[str, tuple[bytes, str]] = {
    entry.name: (entry.read_bytes(), _TYPES[suffix])
    for entry in _PAGE.iterdir()
    if (suffix := "." + entry.name.rpartition(".")[2]) in _TYPES
}


@get(["/", "/{name:str}"])
async def page(request: Request[Any, Any, Any], name: FromPath[str] = "index.html") -> Response[bytes]:
    """Revalidated at each load (304 if unchanged), so that an upgrade shows at once."""
    if name not in _FILES:
        raise NotFoundException(f"no page {name!r}")
    content, media_type = _FILES[name]
    tag = f'"{sha256(content).hexdigest()[:16]}"'
    headers = {"cache-control": "no-cache", "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(b"", status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
