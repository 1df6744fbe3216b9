"""Frame ids as people type them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sightline.terminal.foreign_text import visible
from sightline.terminal.options import UsageError

EXAMPLE = "97a12313-8f5f-5815-8fc4-0696c5c039a4"
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def check_frame_ids(texts: Sequence[str]) -> list[str]:
    """The ids in lower case, without surrounding space. Raises UsageError, saying what an id looks like."""
    ids = [text.strip().lower() for text in texts]
    for text, frame in zip(texts, ids, strict=True):
        if not _ID.fullmatch(frame):
            raise UsageError(
                f"'{visible(text)[:100]}' is no frame id; an id looks like {EXAMPLE}, and `sightline search` and "
                "`sightline dead list` print them"
            )
    return ids
