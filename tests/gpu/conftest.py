"""The precision that a GPU computes in, held on both devices: bf16 on a CPU everywhere, and on CUDA where it is."""

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
    """What tensors take on a device, after the collector has been round."""
    import torch

    gc.collect()
    if device == "cuda":
        return int(torch.cuda.memory_allocated())
    tensors = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]  # isinstance would ask proxies
    return sum(one.nbytes for one in tensors if one.device.type == device)
