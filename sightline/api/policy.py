"""Security headers of every response, and the check of the Host header."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
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
    """A check that refuses a host name not in `hosts`: another site may point its own name at this address.

    An address cannot be pointed elsewhere, so every address is allowed: probes and Prometheus ask by address.
    """

    allowed = {host.casefold() for host in hosts}

    def check(request: Request[Any, Any, Any]) -> None:
        host = _PORT.sub("", request.headers.get("host", "")).casefold()
        if "*" not in allowed and host not in allowed and not _is_address(host):
            raise HTTPException(status_code=421, detail="this host name is not allowed; add it to serve.allowed_hosts")

    return check


def _is_address(host: str) -> bool:
    try:
        ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
