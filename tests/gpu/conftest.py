"""A GPU's precision (bf16), tested on a CPU everywhere and on CUDA where there is a GPU."""

from __future__ import annotations

import gc

import pytest

from processors.models import torch_threads  # noqa: F401 - sets OpenMP's waiting before torch is imported

NO_GPU = "needs a GPU: torch sees no CUDA device"


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    import torch

    name = str(request.param)
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip(NO_GPU)
    return name


def held_bytes(device: str) -> int:
    """Memory of tensors on a device, after garbage collection."""
    import torch

    gc.collect()
    if device == "cuda":
        return int(torch.cuda.memory_allocated())
    tensors = [each for each in gc.get_objects() if issubclass(type(each), torch.Tensor)]  # isinstance resolves proxies
    return sum(tensor.nbytes for tensor in tensors if tensor.device.type == device)
