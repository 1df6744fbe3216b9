"""The libraries' own out-of-memory errors as the one that the runtime handles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from processors.errors import OutOfMemory


@contextmanager
def translate_out_of_memory() -> Iterator[None]:
    """Raise `OutOfMemory` for what CUDA, torch's CPU allocator and Python raise when memory is exhausted."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        if "can't allocate memory" in str(error):  # torch's CPU allocator has no class of its own
            raise OutOfMemory(str(error)) from error
        raise
