"""Logs go to standard error, as text or as JSON. Standard output carries results only.

Where they are JSON, every line is: also sentences for people (`SafeConsole`) and the messages of libraries.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import structlog

from sightline.config import Config
from sightline.terminal.foreign_text import visible, visible_lines
from sightline.terminal.repeated_lines import RepeatedLines
from sightline.terminal.signals import write_json

QUIET = ("uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "transformers", "ultralytics", "litestar")
"""Libraries whose informational messages are suppressed; their warnings pass."""


class VisibleFormatter(logging.Formatter):
    """Lines of the libraries' loggers, without control characters of what they quote."""

    def format(self, record: logging.LogRecord) -> str:
        return visible_lines(super().format(record))


class JsonFormatter(VisibleFormatter):
    """The same lines with the fields that ours have."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z")
        fields = {"logger": record.name, "level": record.levelname.lower(), "timestamp": moment}
        return json.dumps({"event": super().format(record), **fields})


def _made_visible(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = visible_lines(value) if name == "exception" else visible(value)
    return event


def configure(config: Config, *, is_service: bool = False) -> None:
    """Set up structlog and logging once, for the whole process; `is_service`: it runs until it is stopped."""
    on_terminal = sys.stderr.isatty()
    as_json = config.log_format == "json" or (config.log_format == "auto" and is_service and not on_terminal)
    write_json(as_json)
    colors = on_terminal and "NO_COLOR" not in os.environ
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=colors)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _made_visible,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RepeatedLines())
    plain = VisibleFormatter("%(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter("%(message)s") if as_json else plain)
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning)
