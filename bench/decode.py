"""What decoding costs in Sightline over the same decoding done by the best library alone, on all cores.

    python -m bench.decode [--rounds N]

`ratio_jpeg`: pictures a second of the decode stage (bytes and header checked, EXIF upright, event completed) over
those of the faster of OpenCV and simplejpeg (if it is installed) called from a plain thread pool, both giving upright
RGB; the worse of 1080p and 640 × 480, a third of the pictures turned by EXIF. The thumbnail is work of its own, which
no library does alone: `ratio_jpeg_with_thumbnail` has it on one side only. Runs of both sides alternate, and each
side counts with its fastest round: other programs on the machine only ever slow one down. `ratio_video` and the rates
beside it are explained in `bench/video.py`.
"""

from __future__ import annotations

import argparse
import io
import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import cv2
import numpy as np
from PIL import Image

from bench.video import video_figures
from processors.cores import cores
from processors.decode import Decode, DecodeSettings
from processors.frame import Frame
from schemas.events import ImageRef

SIZES = ((1920, 1080), (640, 480))
BATCH = 16
"""The worker's default; two batches are in flight, as on its lane."""
TURNED = 6
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def pictures(width: int, height: int, count: int) -> list[bytes]:
    """JPEGs at quality 85 with the entropy of photographs: smooth shapes, edges, and the noise of a sensor."""
    rng = np.random.default_rng(width)
    made = []
    for number in range(count):
        coarse = rng.integers(0, 256, (height // 40 + 2, width // 40 + 2, 3), dtype=np.uint8)
        canvas = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
        for _ in range(12):
            corner = (int(rng.integers(width)), int(rng.integers(height)))
            cv2.circle(canvas, corner, int(rng.integers(10, height // 5)), rng.integers(0, 256, 3).tolist(), -1)
        canvas += rng.normal(0, 4, canvas.shape).astype(np.float32)
        exif = Image.Exif()
        exif[0x112] = TURNED if number % 3 == 0 else 1
        with io.BytesIO() as file:
            Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8)).save(
                file, "JPEG", quality=85, exif=exif.tobytes()
            )
            made.append(file.getvalue())
    return made


def stage_run(jpegs: Sequence[bytes], thumbnail_side: int) -> Callable[[], float]:
    """Seconds of the decode stage for all `jpegs`, in batches, two in flight."""
    stage = Decode(DecodeSettings(thumbnail_side=thumbnail_side))
    stage.open("cpu")

    def run() -> float:
        batches = list(batched([frame(number, jpeg) for number, jpeg in enumerate(jpegs)]))
        begun = time.perf_counter()
        with ThreadPoolExecutor(2) as lane:
            verdicts = [verdict for batch in lane.map(stage.process, batches) for verdict in batch]
        seconds = time.perf_counter() - begun
        assert verdicts == [None] * len(jpegs)
        return seconds

    return run


def frame(number: int, jpeg: bytes) -> Frame:
    image = ImageRef(format="jpeg", sha256="", size_bytes=len(jpeg))
    name = str(number)
    return Frame(
        id=name, tenant="default", feed="bench", kind="still", position=name, ingested=WHEN, image=image, bytes=jpeg
    )


def batched(frames: Sequence[Frame]) -> Iterator[Sequence[Frame]]:
    for first in range(0, len(frames), BATCH):
        yield frames[first : first + BATCH]


def library_run(decode: Callable[[bytes], object], jpegs: Sequence[bytes]) -> Callable[[], float]:
    def run() -> float:
        begun = time.perf_counter()
        with ThreadPoolExecutor(cores()) as pool:
            kept = list(pool.map(decode, jpegs))
        seconds = time.perf_counter() - begun
        assert all(picture is not None for picture in kept)
        return seconds

    return run


def libraries() -> dict[str, Callable[[bytes], object]]:
    """JPEG to upright RGB, by library. simplejpeg knows no EXIF; it is let off turning the picture."""
    found: dict[str, Callable[[bytes], object]] = {
        "opencv": lambda jpeg: cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    }
    try:
        import simplejpeg  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        return found
    return found | {"simplejpeg": simplejpeg.decode_jpeg}


def jpeg_figures(rounds: int) -> dict[str, float | dict[str, object]]:
    sizes: dict[str, object] = {}
    ratios, with_thumbnails = [], []
    for width, height in SIZES:
        jpegs = pictures(width, height, 48 if width > 1000 else 192)
        runs = {name: library_run(decode, jpegs) for name, decode in libraries().items()}
        runs |= {"stage": stage_run(jpegs, 0), "stage_with_thumbnail": stage_run(jpegs, 320)}
        rates = alternate(runs, rounds, len(jpegs))
        library = max(rates[name] for name in libraries())
        ratios.append(rates["stage"] / library)
        with_thumbnails.append(rates["stage_with_thumbnail"] / library)
        sizes[f"{width}x{height}"] = {name: round(rate, 1) for name, rate in rates.items()}
    return {
        "ratio_jpeg": round(min(ratios), 3),
        "ratio_jpeg_with_thumbnail": round(min(with_thumbnails), 3),
        "jpeg_pictures_per_second": sizes,
    }


def alternate(runs: dict[str, Callable[[], float]], rounds: int, count: int) -> dict[str, float]:
    """Best rates by name: every round runs each once, so that a slow spell of the machine meets all of them."""
    seconds: dict[str, list[float]] = {name: [run()] for name, run in runs.items()}  # first calls also warm up
    for _ in range(rounds):
        for name, run in runs.items():
            seconds[name].append(run())
    return {name: count / min(taken) for name, taken in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    figures: dict[str, object] = {**jpeg_figures(rounds), **video_figures(rounds)}
    machine = {"cores": cores(), "opencv_threads": cv2.getNumThreads(), "cpu": platform.processor()}
    figures["machine"] = machine | {"opencv": cv2.__version__, "python": platform.python_version()}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
