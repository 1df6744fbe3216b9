"""Every error as JSON: `{"error": {"code": "bad_query", "message": "…"}}`, without internal details."""

from __future__ import annotations

from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from processors.headers import Unreadable
from schemas.pictures import FORMATS
from search.errors import BadQuery
from search.uploads import MAX_UPLOAD_BYTES, MAX_UPLOAD_PIXELS
from sightline.api.policy import HEADERS
from stores.errors import Missing, Refused, StoreUnavailable
from streams.errors import Forbidden, Unavailable

_log = structlog.get_logger("sightline.api")
_BY_STATUS = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    410: "erased",
    413: "too_large",
    421: "wrong_host",
}
_PLAIN = {
    405: "this address does not take that method",
    413: f"the body is larger than {MAX_UPLOAD_BYTES >> 20} MB; send less",
}
_UNREADABLE = {
    "empty": "this picture is empty",
    "unsupported_format": f"this is no picture of a kind that is read; send {FORMATS}",
    "too_many_bytes": f"this picture is larger than {MAX_UPLOAD_BYTES >> 20} MB; send a smaller one",
    "too_many_pixels": f"this picture has more than {MAX_UPLOAD_PIXELS // 1_000_000} megapixels; send a smaller one",
}
"""By the reasons of the decode stage, whose own messages are for operators."""
AnyRequest = Request[Any, Any, Any]


def _error(status: int, code: str, message: str) -> Response[dict[str, Any]]:
    return Response({"error": {"code": code, "message": message}}, status_code=status, headers=HEADERS)


def bad_query(_: AnyRequest, error: BadQuery) -> Response[dict[str, Any]]:
    return _error(400, "bad_query", str(error))


def unreadable(_: AnyRequest, error: Unreadable) -> Response[dict[str, Any]]:
    return _error(422, error.reason, _UNREADABLE.get(error.reason, "this picture is damaged and cannot be read"))


def missing(request: AnyRequest, error: Missing) -> Response[dict[str, Any]]:
    """Of a picture that an event names; what a client asks for itself, routes refuse in their own words."""
    _log.info("stored object missing", path=request.url.path, reason=str(error))
    return _error(404, "not_found", "this picture is no longer stored")


class RemovedPicture(Exception):  # noqa: N818 - named for the state
    """Retention has removed a picture that an event still cites; the text says what it keeps."""


def removed(request: AnyRequest, error: RemovedPicture) -> Response[dict[str, Any]]:
    _log.info("picture removed by retention", path=request.url.path, reason=str(error))
    return _error(410, "removed_by_retention", f"this picture was removed by retention: {error}")


class DamagedPicture(Exception):  # noqa: N818 - named for the state
    """The bytes of a stored picture are not those that were stored."""


def damaged(request: AnyRequest, error: DamagedPicture) -> Response[dict[str, Any]]:
    _log.error("stored picture damaged", path=request.url.path, reason=str(error), next="sightline check --deep")
    return _error(502, "damaged_picture", "the stored picture is damaged; `sightline repair --deep` may bring it back")


def refused(request: AnyRequest, error: Refused) -> Response[dict[str, Any]]:
    _log.error("store refused", path=request.url.path, reason=str(error))
    return _error(502, "store_refused", "the index or blob store refused the request; see the server's log")


def unavailable(_: AnyRequest, error: StoreUnavailable | Unavailable) -> Response[dict[str, Any]]:
    part = "index or blob store" if isinstance(error, StoreUnavailable) else "log"
    return _error(503, "unavailable", f"the {part} is unavailable; try again in a moment")


def forbidden(request: AnyRequest, error: Forbidden) -> Response[dict[str, Any]]:
    _log.error("log refused", path=request.url.path, reason=str(error))
    return _error(503, "unavailable", "the log refuses this server; see the server's log")


def http(_: AnyRequest, error: HTTPException) -> Response[dict[str, Any]]:
    mistakes = [f"{entry.get('key')}: {entry.get('message')}" for entry in _extra(error)]
    message = "; ".join(mistakes) or _PLAIN.get(error.status_code) or error.detail
    return _error(error.status_code, _BY_STATUS.get(error.status_code, "error"), message)


def unknown(request: AnyRequest, error: Exception) -> Response[dict[str, Any]]:
    _log.error("request failed", path=request.url.path, exc_info=error)
    return _error(500, "internal", "internal error; see the server's log")


def _extra(error: HTTPException) -> list[dict[str, Any]]:
    extra = error.extra
    return [entry for entry in extra if isinstance(entry, dict)] if isinstance(extra, list) else []


HANDLERS: dict[Any, Any] = {
    BadQuery: bad_query,
    Unreadable: unreadable,
    Missing: missing,
    RemovedPicture: removed,
    DamagedPicture: damaged,
    Refused: refused,
    StoreUnavailable: unavailable,
    Unavailable: unavailable,
    Forbidden: forbidden,
    HTTPException: http,
    Exception: unknown,
}
