"""What a browser is told with every answer, and which names this server answers to."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from litestar import Request
from litestar.exceptions import HTTPException

_PORT = re.compile(r":\d*$")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline. `blob:` is the picture that was just dropped on the page."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


def answers_to(hosts: tuple[str, ...]) -> Callable[[Request[Any, Any, Any]], None]:
    """Refuses a Host header that is none of `hosts`: a foreign page may point its own name at this address."""

    def check(request: Request[Any, Any, Any]) -> None:
        host = _PORT.sub("", request.headers.get("host", ""))
        if "*" not in hosts and host not in hosts:
            raise HTTPException(status_code=421, detail="this server does not answer to that name (allowed_hosts)")

    return check
