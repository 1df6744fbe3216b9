"""Logs go to standard error: as lines on a terminal, else as JSON. Standard output carries results only."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import MutableMapping
from typing import Any

import structlog

from sightline.config import Config
from sightline.terminal.foreign_text import visible, visible_lines
from sightline.terminal.repeated_lines import RepeatedLines

QUIET = ("uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "transformers", "ultralytics", "litestar")
"""Libraries whose informational messages are suppressed; their warnings pass."""


class VisibleFormatter(logging.Formatter):
    """Lines of the libraries' loggers, without control characters of what they quote."""

    def format(self, record: logging.LogRecord) -> str:
        return visible_lines(super().format(record))


def _made_visible(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = visible_lines(value) if name == "exception" else visible(value)
    return event


def configure(config: Config) -> None:
    """Set up structlog and logging once, for the whole process."""
    as_lines = config.log_format == "console" or (config.log_format == "auto" and sys.stderr.isatty())
    renderer = structlog.dev.ConsoleRenderer() if as_lines else structlog.processors.JSONRenderer()
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
    handler.setFormatter(VisibleFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning)
