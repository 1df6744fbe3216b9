"""Credentials of cameras: a feed names variables of the environment, and only who reads the camera looks them up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlsplit

from streams.errors import StreamError

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET = re.compile(r"pass|pwd|secret|token|auth|key|sig|credential", re.IGNORECASE)


class ClearCredentials(StreamError):  # noqa: N818 - named for the state
    """A source as it was given holds a password or key in clear; the message names the way out, never the secret."""


class UnsetReference(StreamError):  # noqa: N818 - named for the state
    """A variable that a source refers to is not set where it is read."""


def checked(source: str) -> str:
    """The source, if it may stand in a topic. Raises ClearCredentials."""
    if "://" not in source:
        return source
    authority, _, after = source.partition("://")[2].partition("/")
    login = authority.rpartition("@")[0]
    if any(_REFERENCE.sub("", part) for part in login.split(":")) or "@" in _REFERENCE.sub("", after):
        raise ClearCredentials(
            "a feed is read by many: write its login as ${CAMERA_USER}:${CAMERA_PASSWORD}@ "
            "and set these variables where `sightline feeds run` runs"
        )
    for name, value in parse_qsl(urlsplit(source).query, keep_blank_values=True):
        if _SECRET.search(name) and _REFERENCE.sub("", value):
            raise ClearCredentials(f"a feed is read by many: write {name}=${{NAME_OF_A_VARIABLE}} in its URL")
    return source


def resolved(source: str, environment: Mapping[str, str]) -> str:
    """The source with its references filled in, quoted for a URL. Raises UnsetReference, naming all that are unset."""
    if missing := sorted({name for name in _REFERENCE.findall(source) if name not in environment}):
        raise UnsetReference(f"not set where feeds are read: {', '.join(missing)}")
    return _REFERENCE.sub(lambda found: quote(environment[found[1]], safe=""), source)
