"""Waits for a condition of the cluster by checking it again and again: a broker does not notify."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def wait_until(check: Callable[[], Awaitable[T | None]], every_seconds: float) -> T:
    """The first result of `check` that is not None; it is called again after each pause. The caller sets a deadline."""
    while (result := await check()) is None:  # noqa: ASYNC110 - a broker has no event for it
        await asyncio.sleep(every_seconds)
    return result
