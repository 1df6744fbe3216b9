"""Every error as JSON: `{"error": {"code": "bad_query", "message": "…"}}`, without internal details."""

from __future__ import annotations

from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException

from processors.headers import Unreadable
from search.query import BadQuery
from sightline.api.policy import HEADERS
from stores.errors import Missing, Refused, StoreUnavailable
from streams.errors import Unavailable

_log = structlog.get_logger("sightline.api")
_BY_STATUS = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 421: "wrong_host"}
AnyRequest = Request[Any, Any, Any]


def _error(status: int, code: str, message: str) -> Response[dict[str, Any]]:
    return Response({"error": {"code": code, "message": message}}, status_code=status, headers=HEADERS)


def bad_query(_: AnyRequest, error: BadQuery) -> Response[dict[str, Any]]:
    return _error(400, "bad_query", str(error))


def unreadable(_: AnyRequest, error: Unreadable) -> Response[dict[str, Any]]:
    return _error(422, error.reason, str(error))


def missing(_: AnyRequest, error: Missing) -> Response[dict[str, Any]]:
    return _error(404, "not_found", str(error))


def refused(request: AnyRequest, error: Refused) -> Response[dict[str, Any]]:
    _log.error("store refused", path=request.url.path, reason=str(error))
    return _error(502, "store_refused", "the store refused the request; see the server's log")


def unavailable(_: AnyRequest, error: StoreUnavailable | Unavailable) -> Response[dict[str, Any]]:
    part = "index or blob store" if isinstance(error, StoreUnavailable) else "log"
    return _error(503, "unavailable", f"the {part} is unavailable; try again in a moment")


def http(_: AnyRequest, error: HTTPException) -> Response[dict[str, Any]]:
    mistakes = [f"{entry.get('key')}: {entry.get('message')}" for entry in _extra(error)]
    message = "; ".join(mistakes) or error.detail
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
    Refused: refused,
    StoreUnavailable: unavailable,
    Unavailable: unavailable,
    HTTPException: http,
    Exception: unknown,
}
