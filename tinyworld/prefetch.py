"""The inputs of the next steps of a training, prepared by other processes while this one computes.

A GPU computes a step in the time in which one core prepares a fraction of the next. The inputs depend on the number of
the step alone, so every process prepares the same ones; steps come in their order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

T = TypeVar("T")

STEPS_AHEAD = 4
"""Per worker: enough that none waits for the slowest, and few enough to fit in memory."""


def prefetched(make: Callable[[int], T], steps: range, *, workers: int) -> Iterator[T]:
    """`make(step)` of every step in order, from `workers` processes; with 0, made here when needed.

    Tensors come through shared memory. The processes are forked and must not use a GPU; they end with the last step.
    """
    if not workers:
        return map(make, steps)
    return _from_processes(make, steps, workers)


def _from_processes(make: Callable[[int], T], steps: range, workers: int) -> Iterator[T]:
    from torch import Generator
    from torch.utils.data import DataLoader

    loader: DataLoader[T] = DataLoader(
        _Steps(make),  # type: ignore[arg-type]
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        prefetch_factor=STEPS_AHEAD,
        collate_fn=_identity,
        generator=Generator(),  # not torch's own: that would change the training's random numbers
        worker_init_fn=_use_one_thread,
    )
    iterator = iter(loader)
    for step in steps:
        inputs = next(iterator)
        if step == steps[-1]:
            next(iterator, None)  # ends the processes; a training takes its last step and asks for no more
        yield inputs


def map_in_parts(make: Callable[[range], T], count: int, *, workers: int, part: int = 250) -> Iterator[T]:
    """`make` of ranges of the numbers below `count`, in order, from `workers` processes; with 0, made here."""
    parts = [range(first, min(first + part, count)) for first in range(0, count, part)]
    if not workers:
        yield from map(make, parts)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(make, parts)


class _Steps:
    """The steps as a torch dataset."""

    def __init__(self, make: Callable[[int], T]) -> None:
        self._make: Callable[[int], object] = make

    def __getitem__(self, step: int) -> object:
        return self._make(step)


def _identity(step: T) -> T:
    return step


def _use_one_thread(_worker: int) -> None:
    """OpenCV's threads do not survive a fork."""
    import cv2

    cv2.setNumThreads(0)
