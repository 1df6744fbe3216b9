"""Security headers of every response, and the check of the Host header."""

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
"""Nothing from other origins, nothing inline. `blob:` is a picture that was dropped on the page."""
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


def answers_to(hosts: tuple[str, ...]) -> Callable[[Request[Any, Any, Any]], None]:
    """A check that refuses a Host header not in `hosts`: another site may point its own name at this address."""

    allowed = {host.casefold() for host in hosts}

    def check(request: Request[Any, Any, Any]) -> None:
        host = _PORT.sub("", request.headers.get("host", "")).casefold()
        if "*" not in allowed and host not in allowed:
            raise HTTPException(status_code=421, detail="this host name is not allowed; add it to serve.allowed_hosts")

    return check
