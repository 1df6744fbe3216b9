"""Logs go to standard error: as lines on a terminal, else as JSON. Standard output carries results only."""

from __future__ import annotations

import logging
import sys
import warnings

import structlog

from sightline.config import Config
from sightline.terminal.repeated_lines import RepeatedLines

QUIET = ("uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "transformers", "ultralytics", "litestar")
"""Libraries whose informational messages are suppressed; their warnings pass."""


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
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(RepeatedLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], format="%(levelname)s %(name)s: %(message)s")
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning)
