"""What the pipeline costs over its models: the fused plan against a bare loop over the same adapters.

    python -m bench.pipeline [--rounds N] [--only tiny|base] [--device auto|cpu|cuda]

Both take the same JPEG frames in the same batches with the same threads: the bare loop decodes a batch with OpenCV and
calls detector, captioner and both embedders one after the other; the pipeline takes the frames from the embedded log
through decode, gate (told to let all through), detect, track, caption and embed, writes thumbnails, points, events and
offsets, and is timed until everything is committed. `ratio_…` is the pipeline's rate over the bare loop's.

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

from bench.report import median_ratio, report, spread, threads
from bench.weights import BASE, build
from processors.models.loading import exact
from processors.models.threads import count as thread_count
from schemas.cloudevents import RAW_TYPE, frame_headers
from schemas.codec import encode_frame
from schemas.events import FrameEvent, ImageRef
from schemas.identity import frame_id, partition_key, video_position
from schemas.topics import RAW
from sightline.config import Config, load
from sightline.idle import left
from sightline.weights import chosen_device, with_weights
from sightline.wiring import Parts, opened
from sightline.working import build_worker
from stores.blobs import blob_uri, sha256_hex
from streams.sources.video import decode_frames
from streams.transport import Outgoing
from streams.worker import Worker

ROUNDS = 5
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
"""By device; a round should take a second or so."""


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
        self._yolo = Yolo.load(Path(detect["weights"]), device=device, precision=exact("auto", device))
        self._blip = Blip.load(caption["weights"], device=device)
        self._clip = Clip.load(embed["weights"], device=device)
        self._vit = Vit.load(embed["visual_weights"], device=device)
        self._tokens = int(caption["most_tokens"])
        self.seconds: dict[str, float] = dict.fromkeys(("decode", "detect", "caption", "embed"), 0.0)

    def run(self, frames: Sequence[bytes], batch: int) -> float:
        """Seconds for all frames."""
        began = time.perf_counter()
        for first in range(0, len(frames), batch):
            self._batch(frames[first : first + batch])
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

    def __init__(self, parts: Parts, worker: Worker, frames: Sequence[bytes]) -> None:
        self._parts, self._worker, self._frames = parts, worker, frames
        self._numbers = count()

    async def start(self) -> asyncio.Task[None]:
        running = asyncio.create_task(self._worker.run())
        while self._worker.health.unready_reasons() and not running.done():  # noqa: ASYNC110 - a benchmark looks on from outside
            await asyncio.sleep(0.05)
        return running

    async def run(self) -> float:
        """Seconds from the frames' acceptance to the last commit; their blobs were written before."""
        records = [await self._record(content) for content in self._frames]
        began = time.perf_counter()
        await self._parts.transport.publish(records)
        while await left(self._parts):  # noqa: ASYNC110 - a benchmark looks on from outside
            await asyncio.sleep(0.01)
        return time.perf_counter() - began

    async def _record(self, content: bytes) -> Outgoing:
        number, now, sha256 = next(self._numbers), datetime.now(UTC), sha256_hex(content)
        feed = FEEDS[number * len(FEEDS) // len(self._frames) % len(FEEDS)]
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
        return Outgoing(RAW, partition_key("default", feed), encode_frame(event), headers)


async def measure(case: Case, device: str, rounds: int, folder: Path) -> tuple[float, dict[str, object]]:
    """The median ratio of a case, and where the time went."""
    config, frames, registry = configuration(case, device, folder), pictures(case), CollectorRegistry()
    bare = Bare(config)
    async with opened(config) as parts:
        pipeline = Pipeline(parts, build_worker(parts, 0, registry), frames)
        running = await pipeline.start()
        threads(torch=thread_count())
        took: dict[str, list[float]] = {"bare": [], "pipeline": []}
        for turn in range(rounds + 1):
            sides = {"bare": await asyncio.to_thread(bare.run, frames, case.batch), "pipeline": await pipeline.run()}
            print(f"{case.name} {turn}/{rounds}", {name: f"{len(frames) / s:.1f}/s" for name, s in sides.items()})
            for name, seconds in sides.items():
                took[name] += [seconds] if turn else []
        pipeline._worker.stop()
        await running
    rest = {
        "frames_per_second": {name: spread([len(frames) / s for s in seconds]) for name, seconds in took.items()},
        "bare_seconds": {name: round(s, 3) for name, s in bare.seconds.items()},
        "pipeline_seconds": _by_stage(registry),
    }
    return median_ratio(took["bare"], took["pipeline"]), rest


def _by_stage(registry: CollectorRegistry) -> dict[str, float]:
    """Compute seconds of every stage, commits and stores beside them, over all rounds."""
    found: dict[str, float] = {}
    for metric in registry.collect():
        for sample in metric.samples:
            if sample.name.endswith("_seconds_sum") and sample.value:
                labels = ",".join(sample.labels.values())
                found[f"{metric.name.removeprefix('sightline_')} {labels}".strip()] = round(sample.value, 3)
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
