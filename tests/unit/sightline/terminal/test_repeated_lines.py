"""A library that repeats itself is heard once a minute."""

from __future__ import annotations

import io
import logging

from sightline.terminal.repeated_lines import INTERVAL_SECONDS, MAX_KINDS, RepeatedLines


def test_repeated_lines_are_left_out_and_counted() -> None:
    now, stream = [0.0], io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RepeatedLines(lambda: now[0]))
    logger = logging.Logger("aiokafka.client")
    logger.addHandler(handler)
    for number in range(1000):
        logger.error("Unable to update metadata from %s", [number])
        logger.error("Unable connect to node with id %s", number)
        logger.warning("Unable to update metadata from %s", [number])
    assert len(stream.getvalue().splitlines()) == 3, "a message at a level is a kind, whatever its arguments"
    now[0] = INTERVAL_SECONDS
    logger.error("Unable to update metadata from %s", [7])
    last = stream.getvalue().splitlines()[-1]
    assert last == "Unable to update metadata from [7] (999 more since 60 s ago)"


def test_what_is_remembered_is_bounded() -> None:
    lines = RepeatedLines()
    for number in range(2 * MAX_KINDS):
        record = logging.LogRecord("x", logging.ERROR, "", 0, f"formatted {number}", None, None)
        assert lines.filter(record)
    assert len(lines._kinds) == MAX_KINDS
