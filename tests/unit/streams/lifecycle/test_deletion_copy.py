"""The second copy of requested deletions after a crash in the middle of a line."""

from __future__ import annotations

from pathlib import Path

from schemas.events import Deletion
from streams.lifecycle.deletion_copy import DeletionCopy
from tests.support.pictures import START


def deletion(frame: str) -> Deletion:
    return Deletion(frame=frame, tenant="default", feed="lobby", requested=START)


async def test_a_line_that_was_cut_off_takes_no_later_request_with_it(tmp_path: Path) -> None:
    copy = DeletionCopy(tmp_path)
    await copy.append([deletion("first"), deletion("torn")])
    copy.path.write_bytes(copy.path.read_bytes()[:-20])
    await copy.append([deletion("later")])
    assert copy.read().keys() == {"first", "later"}
