"""What the next steps of a training need, made by other processes while this one computes.

A GPU takes a step in the time in which one core prepares a fraction of it. What a step needs depends on its number
alone, so that it is the same whoever makes it, and steps come in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

T = TypeVar("T")

STEPS_AHEAD = 4
"""Of each worker: enough that none waits for the slowest, and few enough to lie in memory."""


def made_ahead(make: Callable[[int], T], steps: range, *, workers: int) -> Iterator[T]:
    """`make(step)` of every step in order, made by so many processes; by this one when it is needed where that is 0.

    Tensors come through shared memory. The processes are forked and must not touch a GPU; they end with the iterator.
    """
    from torch import Generator
    from torch.utils.data import DataLoader

    if not workers:
        return map(make, steps)
    loader: DataLoader[T] = DataLoader(
        _Made(make),  # type: ignore[arg-type]
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        prefetch_factor=STEPS_AHEAD,
        collate_fn=_as_it_is,
        generator=Generator(),  # its own: asking torch's would change what the training draws
        worker_init_fn=_alone,
    )
    return iter(loader)


def in_parts(make: Callable[[range], T], count: int, *, workers: int, part: int = 250) -> Iterator[T]:
    """`make` of the numbers below `count`, some at a time and in order, by so many processes or by this one."""
    parts = [range(first, min(first + part, count)) for first in range(0, count, part)]
    if not workers:
        yield from map(make, parts)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(make, parts)


class _Made:
    """As torch wants it: what stands at a number."""

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make: Callable[[int], object] = make

    def __getitem__(self, step: int) -> object:
        return self._make(step)


def _as_it_is(made: T) -> T:
    return made


def _alone(_worker: int) -> None:
    """One thread for each process; OpenCV's own would be forked in whatever state they are."""
    import cv2

    cv2.setNumThreads(0)
