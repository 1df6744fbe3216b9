"""The compiled code for batches; None without a C compiler at installation: aiokafka's code does the same then."""

from __future__ import annotations

from typing import Any

wire: Any
try:
    from streams.kafka.compiled import _wire as wire
except ImportError:
    wire = None
