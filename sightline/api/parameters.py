"""Query parameters of the API's routes: one that a route does not have is refused, with the nearest that it has."""

from __future__ import annotations

from collections import Counter
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request

from search.errors import BadQuery, quoted

REPEATABLE = frozenset({"feed", "label", "not"})
PARAMETERS = "parameters"
"""Key of a route's `opt` with the names of its parameters; a route below /api/ without it has none."""
_SEARCHED = "/api/"


def check_parameters(request: Request[Any, Any, Any]) -> None:
    """Raises BadQuery. The page's own address and files may have any parameters."""
    if not request.url.path.startswith(_SEARCHED):
        return
    known: tuple[str, ...] = request.route_handler.opt.get(PARAMETERS, ())
    given = Counter(name for name, _ in parse_qsl(request.url.query, keep_blank_values=True))
    for name, times in given.items():
        if name not in known:
            raise BadQuery(_unknown(name, known))
        if times > 1 and name not in REPEATABLE:
            raise BadQuery(f"the parameter {name!r} is given {times} times; give it once")


def _unknown(name: str, known: tuple[str, ...]) -> str:
    if not known:
        return f"this address has no parameter {quoted(name)}, and takes none"
    near = get_close_matches(name.casefold(), known, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
    return f"this address has no parameter {quoted(name)}; {hint}"
