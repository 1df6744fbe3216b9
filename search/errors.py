"""Errors of a search."""

from __future__ import annotations


class BadQuery(ValueError):  # noqa: N818 - named for the state
    """The query cannot be understood; the message, one line, shows one that can."""


QUOTED_CHARACTERS = 40
"""Of what was typed, as messages repeat it."""


def quoted(text: str) -> str:
    """`text` in quotes, on one line and not too long."""
    return repr(text if len(text) <= QUOTED_CHARACTERS else f"{text[:QUOTED_CHARACTERS]}…")
