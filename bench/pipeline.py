"""What the pipeline costs over its models: the fused plan against a bare loop over the same adapters.

    python -m bench.pipeline [--rounds N] [--only tiny|base] [--device auto|cpu|cuda]

Both take the same JPEG frames in the same batches with the same threads: the bare loop decodes a batch with OpenCV and
calls detector, captioner and both embedders one after the other; the pipeline takes the frames from the embedded log
through decode, gate (told to let all through), detect, track, caption and embed, writes thumbnails, points, events and
offsets, and is timed until everything is committed. `ratio_…` is the pipeline's rate over the bare loop's, which runs
before and after it each time; the mean of the two is what it is held to, as the machine grows faster and slower.

Both sides need all cores. A round is run again (up to as many times as there are rounds) when other programs took more
than `OTHERS_CORES` beside either side; `others_cores` says what they took in the rounds that count.

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
"""Of two cores that both sides want to themselves, this is within what a round varies by anyway."""
LOOK_SECONDS = 0.02
"""How often a counter of this process is looked at, which costs no more than is measured; asking the log for its lag
a hundred times a second took a twelfth of a core."""
FEEDS = ("left", "right")
CAPTION_TOKENS = {"tiny": 24, "base": 10}


@dataclass(frozen=True, slots=True)
class Case:
    """One preset's run: frames a round, frames a batch, and the size that the clip's frames are scaled to."""

    name: str
    frames: int
    batch: int
    size: tuple[int, int]


CASES = {
    "cpu": (Case("tiny", 320, 16, (320, 240)), Case("base", 16, 8, (640, 480))),
    "cuda": (Case("tiny", 320, 16, (320, 240)), Case("base", 256, 32, (640, 480))),
}
"""By device. A frame costs the base models seconds on a CPU, so that there it is few."""


def pictures(case: Case) -> list[bytes]:
    """Distinct JPEG frames of the shipped clips, as a source encodes them."""
    import tinyworld

    folder = Path(next(iter(tinyworld.__path__))) / "samples"
    found: list[bytes] = []
    for name in FEEDS:
        for pixels in decode_frames(folder / f"{name}.mp4"):
            scaled = cv2.resize(pixels, case.size, interpolation=cv2.INTER_LINEAR)
            found.append(cv2.imencode(".jpg", cv2.cvtColor(scaled, cv2.COLOR_RGB2BGR))[1].tobytes())
    return [found[place * len(found) // case.frames] for place in range(case.frames)]


def configuration(case: Case, device: str, folder: Path) -> Config:
    stages: dict[str, Any] = {
        "gate": {"stages": []},
        "caption": {"most_tokens": CAPTION_TOKENS[case.name], "least_tokens": CAPTION_TOKENS[case.name]},
    }
    if case.name == "base":
        made = build(folder / "weights", BASE)
        stages["detect"] = {"weights": str(made["detect"])}
        stages["caption"]["weights"] = str(made["caption"])
        stages["embed"] = {"weights": str(made["semantic"]), "visual_weights": str(made["visual"])}
    worker = {"batch_frames": case.batch, "in_flight_frames": 8 * case.batch, "device": device}
    return load(None, {"data": str(folder / "data"), "stages": stages, "worker": worker}, {})


class Bare:
    """The loop that somebody would write by hand: a batch at a time, nothing kept."""

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
            np.asarray(cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8) for one in frames
        ]
        marks.append(time.perf_counter())
        self._yolo.detect(images)
        marks.append(time.perf_counter())
        self._blip.caption(images, most_tokens=self._tokens, least_tokens=self._tokens)
        marks.append(time.perf_counter())
        self._clip.embed_images(images)
        self._vit.embed_images(images)
        marks.append(time.perf_counter())
        for place, name in enumerate(self.seconds):
            self.seconds[name] += marks[place + 1] - marks[place]


class Pipeline:
    """A worker that stays warm; each round publishes new frames and waits until they are committed."""

    def __init__(self, parts: Parts, worker: Worker, frames: Sequence[bytes], registry: CollectorRegistry) -> None:
        self._parts, self._worker, self.frames = parts, worker, frames
        self._numbers = count()
        self._counter = registry.restricted_registry(["sightline_events_out_total"])
        self.runs = 0

    async def start(self) -> None:
        self._running = asyncio.create_task(self._worker.run())
        while self._worker.health.unready_reasons() and not self._running.done():  # noqa: ASYNC110 - a benchmark looks on from outside
            await asyncio.sleep(0.05)

    async def records(self) -> list[NewRecord]:
        """New frames of the same pictures, their blobs written."""
        return [await self._record(content) for content in self.frames]

    async def run(self, records: Sequence[NewRecord]) -> float:
        """Seconds from the frames' acceptance to the last commit."""
        began, wanted = time.perf_counter(), self._published() + len(records)
        await self._parts.transport.publish(records)
        while self._published() < wanted and not self._running.done():  # noqa: ASYNC110 - counted with their commit
            await asyncio.sleep(LOOK_SECONDS)
        seconds = time.perf_counter() - began
        assert not await left(self._parts), "published, and not committed"
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
    """The median ratio of a case, and where the time went."""
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
            "bare": spread([len(frames) / one.bare_seconds for one in taken]),
            "pipeline": spread([len(frames) / one.pipeline_seconds for one in taken]),
        },
        "others_cores": [round(one.others_cores, 3) for one in taken],
        "bare_seconds": {name: round(s / bare.runs, 3) for name, s in bare.seconds.items()},
        "pipeline_seconds": _by_stage(registry, pipeline.runs),
    }
    return median_ratio([one.bare_seconds for one in taken], [one.pipeline_seconds for one in taken]), rest


@dataclass(frozen=True, slots=True)
class Round:
    """`bare_seconds` is the mean of before and after; `others_cores` what other programs took, at worst."""

    bare_seconds: float
    pipeline_seconds: float
    others_cores: float

    def told(self, frames: int) -> str:
        rates = f"bare {frames / self.bare_seconds:.2f}/s, pipeline {frames / self.pipeline_seconds:.2f}/s"
        return f"{rates}, ratio {self.bare_seconds / self.pipeline_seconds:.3f}, others {self.others_cores:.2f} cores"


async def _rounds(bare: Bare, pipeline: Pipeline, case: Case, rounds: int, others: Others) -> list[Round]:
    """The least disturbed `rounds`, after one that is thrown away: of as many, or of up to twice as many."""

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
        print(f"{case.name} {len(taken)}:", taken[-1].told(len(pipeline.frames)), flush=True)
        before = after
    return sorted(taken, key=lambda one: one.others_cores)[:rounds]


def _worst(taken: Sequence[Round], rounds: int) -> float:
    """What others took in the most disturbed of the rounds that count."""
    return sorted(one.others_cores for one in taken)[rounds - 1]


def _by_stage(registry: CollectorRegistry, runs: int) -> dict[str, float]:
    """Compute seconds of every stage, commits and stores beside them, of a round on average."""
    found: dict[str, float] = {}
    for metric in registry.collect():
        for sample in metric.samples:
            if sample.name.endswith("_seconds_sum") and sample.value:
                labels = ",".join(sample.labels.values())
                found[f"{metric.name.removeprefix('sightline_')} {labels}".strip()] = round(sample.value / runs, 3)
    return found


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
                ratio, told = asyncio.run(measure(case, device, arguments.rounds, Path(folder)))
            figures[f"ratio_{case.name}"], rest[case.name] = ratio, told
    report(figures, **rest)


if __name__ == "__main__":
    main()
