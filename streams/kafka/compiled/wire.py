"""The compiled code for batches, or None where installing found no C compiler: aiokafka's own does the same then."""

from __future__ import annotations

from typing import Any

wire: Any
try:
    from streams.kafka.compiled import _wire as wire
except ImportError:
    wire = None
