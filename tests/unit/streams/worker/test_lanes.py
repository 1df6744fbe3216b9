"""Lanes keep both threads busy and no more; turns keep the order."""

from __future__ import annotations

import asyncio
import threading

import pytest

from streams.worker.lanes import DEPTH, Lanes, Turns


async def test_a_lane_holds_one_running_and_one_waiting_call() -> None:
    lanes = Lanes(cpu_threads=1)
    gate, begun = threading.Event(), []

    def call(number: int) -> str:
        begun.append(number)
        assert gate.wait(10)
        return threading.current_thread().name

    calls = [asyncio.create_task(lanes.run("gpu", call, number)) for number in range(4)]
    other = await asyncio.wait_for(lanes.run("cpu", threading.current_thread), 10)
    assert other.name.startswith("lane-cpu"), "the lanes do not wait for each other"
    queue = lanes._pools["gpu"]._work_queue.qsize()
    assert len(begun) + queue <= DEPTH
    gate.set()
    names = await asyncio.gather(*calls)
    assert begun == [0, 1, 2, 3]
    assert len(set(names)) == 1, "one thread owns the GPU"
    lanes.close()


async def test_what_a_call_raises_comes_out() -> None:
    lanes = Lanes(cpu_threads=1)

    def fail() -> None:
        raise KeyError("here")

    with pytest.raises(KeyError):
        await lanes.run("cpu", fail)
    lanes.close()


async def test_turns_are_taken_in_order_whoever_comes_first() -> None:
    turns, passed = Turns(), []

    async def batch(number: int) -> None:
        await turns.enter(number)
        passed.append(number)
        turns.leave(number)

    late = [asyncio.create_task(batch(number)) for number in (3, 2)]
    await asyncio.sleep(0)
    assert passed == []
    turns.leave(1)  # failed before it came here
    await batch(0)
    await asyncio.gather(*late)
    assert passed == [0, 2, 3]
    turns.leave(0)
    await asyncio.wait_for(batch(4), 10)


async def test_a_cancelled_batch_lets_the_next_one_through() -> None:
    turns = Turns()
    waiting = asyncio.create_task(turns.enter(1))
    await asyncio.sleep(0)
    waiting.cancel()
    turns.leave(1)
    turns.leave(0)
    await asyncio.wait_for(turns.enter(2), 10)
