"""Out of memory is one error, on the GPU and on the CPU."""

import pytest
import torch

from processors.errors import OutOfMemory
from processors.models.out_of_memory import translate_out_of_memory

MORE_THAN_ANY_MACHINE_BYTES = 1 << 46


def test_torch_without_memory_is_named() -> None:
    with pytest.raises(OutOfMemory), translate_out_of_memory():
        torch.empty(MORE_THAN_ANY_MACHINE_BYTES, dtype=torch.uint8)


def test_other_errors_keep_theirs() -> None:
    with pytest.raises(RuntimeError, match="cannot be multiplied"), translate_out_of_memory():
        torch.ones(2, 3) @ torch.ones(2, 3)
