"""Credentials of cameras: a feed names environment variables, and only the process that reads it resolves them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlsplit

from streams.errors import StreamError

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET = re.compile(r"pass|pwd|secret|token|auth|key|sig|credential", re.IGNORECASE)


class ClearCredentials(StreamError):  # noqa: N818 - named for the state
    """A source contains a password or key in clear text; the message says what to write instead, never the secret."""


class UnsetVariable(StreamError):  # noqa: N818 - named for the state
    """An environment variable that a source refers to is not set where the feed is read."""


def check_credentials(source: str) -> str:
    """The source, if it may be written to a topic. Raises ClearCredentials."""
    if "://" not in source:
        return source
    authority, _, path = source.partition("://")[2].partition("/")
    login = authority.rpartition("@")[0]
    if any(_REFERENCE.sub("", part) for part in login.split(":")) or "@" in _REFERENCE.sub("", path):
        raise ClearCredentials(
            "the URL contains a login in clear text: write ${CAMERA_USER}:${CAMERA_PASSWORD}@ instead, "
            "and set these variables where `sightline feeds run` runs"
        )
    for name, value in parse_qsl(urlsplit(source).query, keep_blank_values=True):
        if _SECRET.search(name) and _REFERENCE.sub("", value):
            raise ClearCredentials(
                f"the URL contains {name} in clear text: write {name}=${{NAME_OF_A_VARIABLE}} instead, "
                "and set this variable where `sightline feeds run` runs"
            )
    return source


def resolve_references(source: str, environment: Mapping[str, str]) -> str:
    """The source with its variables filled in, quoted for a URL. Raises UnsetVariable, naming all that are not set."""
    if missing := sorted({name for name in _REFERENCE.findall(source) if name not in environment}):
        raise UnsetVariable(f"environment variables not set where feeds are read: {', '.join(missing)}")
    return _REFERENCE.sub(lambda match: quote(environment[match[1]], safe=""), source)
