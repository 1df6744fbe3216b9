"""The cost of the pipeline over its models: the fused plan against a bare loop over the same adapters.

    python -m bench.pipeline [--rounds N] [--only tiny|base] [--device auto|cpu|cuda]

Both take the same JPEG frames in the same batches with the same threads. The bare loop decodes a batch with OpenCV and
calls detector, captioner and both embedders one after the other. The pipeline takes the frames from the embedded log
through decode, gate (which passes all frames), detect, track, caption and embed, writes thumbnails, points, events and
offsets, and is timed until everything is committed. `ratio_…` is the pipeline's rate over the bare loop's. The bare
loop runs before and after it each time, and their mean counts, because the speed of the machine varies.

Both sides need all cores. A round is repeated (up to as many times as there are rounds) if other programs took more
than `OTHERS_CORES` during either side; `others_cores` has what they took in the rounds that count.

`base` are the base architectures at seeded random weights (`bench.weights`); every caption has the same length. On a
GPU both compute in bf16, and `base` takes more frames in larger batches.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from prometheus_client import CollectorRegistry

from bench.others import Others
from bench.report import median_ratio, report, spread, threads
from bench.weights import BASE, build
from processors.models.checkpoint import resolve_precision
from processors.models.torch_threads import thread_count
from schemas.cloudevents import RAW_TYPE, frame_headers
from schemas.codec import encode_frame
from schemas.events import FrameEvent, ImageRef
from schemas.identity import frame_id, partition_key, video_position
from schemas.topics import ENRICHED, RAW
from sightline.config import Config, load
from sightline.wiring.build_worker import build_worker
from sightline.wiring.idle import left
from sightline.wiring.parts import Parts, opened
from sightline.wiring.weights import chosen_device, with_weights
from stores.blobs import blob_uri, sha256_hex
from streams.sources.video import decode_frames
from streams.transport import NewRecord
from streams.worker.worker import Worker

ROUNDS = 5
OTHERS_CORES = 0.1
"""Of two cores that both sides need entirely, this is within the variation of a round."""
LOOK_SECONDS = 0.02
"""Interval for reading a counter of this process, which costs nothing measurable. Asking the log for its lag a hundred
times a second took a twelfth of a core."""
FEEDS = ("left", "right")
CAPTION_TOKENS = {"tiny": 24, "base": 10}


@dataclass(frozen=True, slots=True)
class Case:
    """The run of a preset: frames per round, frames per batch, and the size that the clip's frames are scaled to."""

    name: str
    frames: int
    batch: int
    size: tuple[int, int]


CASES = {
    "cpu": (Case("tiny", 320, 16, (320, 240)), Case("base", 16, 8, (640, 480))),
    "cuda": (Case("tiny", 320, 16, (320, 240)), Case("base", 256, 32, (640, 480))),
}
"""By device. A frame takes the base models seconds on a CPU, so there are few of them there."""


def pictures(case: Case) -> list[bytes]:
    """Distinct JPEG frames of the shipped clips, as a source encodes them."""
    import tinyworld

    folder = Path(next(iter(tinyworld.__path__))) / "samples"
    jpegs: list[bytes] = []
    for name in FEEDS:
        for pixels in decode_frames(folder / f"{name}.mp4"):
            scaled = cv2.resize(pixels, case.size, interpolation=cv2.INTER_LINEAR)
            jpegs.append(cv2.imencode(".jpg", cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR))[1].tobytes())
    return [jpegs[number * len(jpegs) // case.frames] for number in range(case.frames)]


def configuration(case: Case, device: str, folder: Path) -> Config:
    stages: dict[str, Any] = {
        "gate": {"stages": []},
        "caption": {"most_tokens": CAPTION_TOKENS[case.name], "least_tokens": CAPTION_TOKENS[case.name]},
    }
    if case.name == "base":
        folders = build(folder / "weights", BASE)
        stages["detect"] = {"weights": str(folders["detect"])}
        stages["caption"]["weights"] = str(folders["caption"])
        stages["embed"] = {"weights": str(folders["semantic"]), "visual_weights": str(folders["visual"])}
    worker = {"batch_frames": case.batch, "in_flight_frames": 8 * case.batch, "device": device}
    return load(None, {"data": str(folder / "data"), "stages": stages, "worker": worker}, {})


class Bare:
    """A hand-written loop: one batch at a time, no results kept."""

    def __init__(self, config: Config) -> None:
        from processors.models.blip import Blip
        from processors.models.clip import Clip
        from processors.models.vit import Vit
        from processors.models.yolo import Yolo

        detect, caption, embed = (with_weights(config, name) for name in ("detect", "caption", "embed"))
        device = config.worker.device
        self._yolo = Yolo.load(Path(detect["weights"]), device=device, precision=resolve_precision("auto", device))
        self._blip = Blip.load(caption["weights"], device=device)
        self._clip = Clip.load(embed["weights"], device=device)
        self._vit = Vit.load(embed["visual_weights"], device=device)
        self._tokens = int(caption["most_tokens"])
        self.seconds: dict[str, float] = dict.fromkeys(("decode", "detect", "caption", "embed"), 0.0)
        self.runs = 0

    def run(self, frames: Sequence[bytes], batch: int) -> float:
        """Seconds for all frames."""
        began = time.perf_counter()
        for first in range(0, len(frames), batch):
            self._batch(frames[first : first + batch])
        self.runs += 1
        return time.perf_counter() - began

    def _batch(self, frames: Sequence[bytes]) -> None:
        marks = [time.perf_counter()]
        images = [
            np.asarray(cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8) for frame in frames
        ]
        marks.append(time.perf_counter())
        self._yolo.detect(images)
        marks.append(time.perf_counter())
        self._blip.caption(images, most_tokens=self._tokens, least_tokens=self._tokens)
        marks.append(time.perf_counter())
        self._clip.embed_images(images)
        self._vit.embed_images(images)
        marks.append(time.perf_counter())
        for number, name in enumerate(self.seconds):
            self.seconds[name] += marks[number + 1] - marks[number]


class Pipeline:
    """A worker that runs through all rounds; each round publishes new frames and waits until they are committed."""

    def __init__(self, parts: Parts, worker: Worker, frames: Sequence[bytes], registry: CollectorRegistry) -> None:
        self._parts, self._worker, self.frames = parts, worker, frames
        self._numbers = count()
        self._counter = registry.restricted_registry(["sightline_events_out_total"])
        self.runs = 0

    async def start(self) -> None:
        self._running = asyncio.create_task(self._worker.run())
        health = self._worker.health
        while health.unready_reasons() and not self._running.done():  # noqa: ASYNC110 - observed from outside
            await asyncio.sleep(0.05)

    async def records(self) -> list[NewRecord]:
        """Records of new frames with the same pictures, whose blobs are written."""
        return [await self._record(content) for content in self.frames]

    async def run(self, records: Sequence[NewRecord]) -> float:
        """Seconds from the acceptance of the frames to the last commit."""
        began, wanted = time.perf_counter(), self._published() + len(records)
        await self._parts.transport.publish(records)
        while self._published() < wanted and not self._running.done():  # noqa: ASYNC110 - counted with their commit
            await asyncio.sleep(LOOK_SECONDS)
        seconds = time.perf_counter() - began
        assert not await left(self._parts), "published but not committed"
        self.runs += 1
        return seconds

    def _published(self) -> float:
        samples = [sample for metric in self._counter.collect() for sample in metric.samples]
        return sum(sample.value for sample in samples if sample.labels == {"topic": ENRICHED})

    async def stop(self) -> None:
        self._worker.stop()
        await self._running

    async def _record(self, content: bytes) -> NewRecord:
        number, now, sha256 = next(self._numbers), datetime.now(UTC), sha256_hex(content)
        feed = FEEDS[number * len(FEEDS) // len(self.frames) % len(FEEDS)]
        uri = blob_uri("default", feed, now.date(), sha256)
        await self._parts.blobs.put("default", uri, content)
        position = video_position("0" * 64, number, 0)
        image = ImageRef(format="jpeg", sha256=sha256, size_bytes=len(content), uri=uri, inline=content)
        event = FrameEvent(
            id=frame_id("default", feed, position),
            tenant="default",
            feed=feed,
            kind="frame",
            position=position,
            ingested=now,
            captured=now,
            image=image,
        )
        headers = frame_headers(event, RAW_TYPE)
        return NewRecord(RAW, partition_key("default", feed), encode_frame(event), headers)


async def measure(case: Case, device: str, rounds: int, folder: Path) -> tuple[float, dict[str, object]]:
    """The median ratio of a case, and the time by stage."""
    config, frames, registry = configuration(case, device, folder), pictures(case), CollectorRegistry()
    bare = Bare(config)
    async with opened(config) as parts:
        pipeline = Pipeline(parts, build_worker(parts, 0, registry), frames, registry)
        await pipeline.start()
        threads(torch=thread_count())
        taken = await _rounds(bare, pipeline, case, rounds, Others(folder))
        await pipeline.stop()
    rest: dict[str, object] = {
        "frames_per_second": {
            "bare": spread([len(frames) / each.bare_seconds for each in taken]),
            "pipeline": spread([len(frames) / each.pipeline_seconds for each in taken]),
        },
        "others_cores": [round(each.others_cores, 3) for each in taken],
        "bare_seconds": {name: round(s / bare.runs, 3) for name, s in bare.seconds.items()},
        "pipeline_seconds": _by_stage(registry, pipeline.runs),
    }
    return median_ratio([each.bare_seconds for each in taken], [each.pipeline_seconds for each in taken]), rest


@dataclass(frozen=True, slots=True)
class Round:
    """`bare_seconds` is the mean of before and after; `others_cores` the most that other programs took."""

    bare_seconds: float
    pipeline_seconds: float
    others_cores: float

    def summary(self, frames: int) -> str:
        rates = f"bare {frames / self.bare_seconds:.2f}/s, pipeline {frames / self.pipeline_seconds:.2f}/s"
        return f"{rates}, ratio {self.bare_seconds / self.pipeline_seconds:.3f}, others {self.others_cores:.2f} cores"


async def _rounds(bare: Bare, pipeline: Pipeline, case: Case, rounds: int, others: Others) -> list[Round]:
    """The least disturbed `rounds`, of up to twice as many; a first round is discarded."""

    async def run_bare() -> tuple[float, float]:
        with others.counted() as cores:
            return await asyncio.to_thread(bare.run, pipeline.frames, case.batch), cores()

    async def run_pipeline() -> tuple[float, float]:
        records = await pipeline.records()
        with others.counted() as cores:
            return await pipeline.run(records), cores()

    await run_bare()
    await run_pipeline()
    taken: list[Round] = []
    before = await run_bare()
    while len(taken) < rounds or (len(taken) < 2 * rounds and _worst(taken, rounds) > OTHERS_CORES):
        piped, after = await run_pipeline(), await run_bare()
        taken.append(Round((before[0] + after[0]) / 2, piped[0], max(before[1], piped[1], after[1])))
        print(f"{case.name} {len(taken)}:", taken[-1].summary(len(pipeline.frames)), flush=True)
        before = after
    return sorted(taken, key=lambda each: each.others_cores)[:rounds]


def _worst(taken: Sequence[Round], rounds: int) -> float:
    """The cores that others took in the most disturbed of the rounds that count."""
    return sorted(each.others_cores for each in taken)[rounds - 1]


def _by_stage(registry: CollectorRegistry, runs: int) -> dict[str, float]:
    """Mean seconds per round of every stage, of commits and of the stores."""
    seconds: dict[str, float] = {}
    for metric in registry.collect():
        for sample in metric.samples:
            if sample.name.endswith("_seconds_sum") and sample.value:
                labels = ",".join(sample.labels.values())
                seconds[f"{metric.name.removeprefix('sightline_')} {labels}".strip()] = round(sample.value / runs, 3)
    return seconds


def device_name(device: str) -> str:
    """The GPU's own name, or `cpu`."""
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else device


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", choices=list(CAPTION_TOKENS))
    parser.add_argument("--device", choices=["auto", *CASES], default="auto")
    arguments = parser.parse_args()
    device = chosen_device(arguments.device)
    figures: dict[str, float] = {}
    rest: dict[str, object] = {"device": device_name(device)}
    for case in CASES[device]:
        if arguments.only in (None, case.name):
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                ratio, breakdown = asyncio.run(measure(case, device, arguments.rounds, Path(folder)))
            figures[f"ratio_{case.name}"], rest[case.name] = ratio, breakdown
    report(figures, **rest)


if __name__ == "__main__":
    main()
