"""The cost of decoding in Sightline over the same decoding by the best library alone, on all cores.

    python -m bench.decode [--rounds N]

`ratio_jpeg`: pictures per second of the decode stage (bytes and header checked, EXIF orientation applied, event
completed) over those of the faster of OpenCV and simplejpeg in a plain thread pool. Both give upright RGB; simplejpeg
does not read EXIF, so it is given the orientation, which the stage has to find. The figure is the worse of 1080p and
640 × 480, with a third of the pictures rotated by EXIF. The thumbnail is additional work that no library does:
`ratio_jpeg_with_thumbnail` includes it on the stage's side only. `bench/video.py` describes `ratio_video`.
"""

from __future__ import annotations

import argparse
import io
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from bench.report import in_turns, median_ratio, report, spread, threads
from bench.video import video_figures
from processors.cores import cores
from processors.frame import Frame, Verdicts
from processors.stages.decode import Decode, DecodeSettings
from schemas.events import ImageRef

SIZES = ((1920, 1080), (640, 480))
BATCH = 16
"""The worker's default; two batches are in flight, as on a worker's lane."""
ROTATED = 6
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


def pictures(width: int, height: int, count: int) -> list[bytes]:
    """JPEGs of quality 85 with the entropy of photographs: smooth shapes, edges, and sensor noise."""
    rng = np.random.default_rng(width)
    jpegs = []
    for number in range(count):
        coarse = rng.integers(0, 256, (height // 40 + 2, width // 40 + 2, 3), dtype=np.uint8)
        canvas = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)
        for _ in range(12):
            corner = (int(rng.integers(width)), int(rng.integers(height)))
            cv2.circle(canvas, corner, int(rng.integers(10, height // 5)), rng.integers(0, 256, 3).tolist(), -1)
        canvas += rng.normal(0, 4, canvas.shape).astype(np.float32)
        exif = Image.Exif()
        exif[0x112] = orientation_of(number)
        with io.BytesIO() as file:
            Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8)).save(
                file, "JPEG", quality=85, exif=exif.tobytes()
            )
            jpegs.append(file.getvalue())
    return jpegs


def orientation_of(number: int) -> int:
    """The EXIF orientation of picture `number`: a third are rotated."""
    return ROTATED if number % 3 == 0 else 1


def stage_run(jpegs: Sequence[bytes], thumbnail_side: int) -> Callable[[], float]:
    """Seconds of the decode stage for all `jpegs`, in batches, two in flight."""
    stage = Decode(DecodeSettings(thumbnail_side=thumbnail_side))
    stage.open("cpu")

    def work(batch: Sequence[Frame]) -> Verdicts:
        verdicts = stage.process(batch)
        for each in batch:
            each.pixels = None  # as a worker releases a finished batch
        return verdicts

    def run() -> float:
        batches = list(batched([frame(number, jpeg) for number, jpeg in enumerate(jpegs)]))
        begun = time.perf_counter()
        with ThreadPoolExecutor(2) as lane:
            verdicts = [verdict for batch in lane.map(work, batches) for verdict in batch]
        seconds = time.perf_counter() - begun
        assert verdicts == [None] * len(jpegs)
        return seconds

    return run


def frame(number: int, jpeg: bytes) -> Frame:
    image = ImageRef(format="jpeg", sha256="", size_bytes=len(jpeg))
    name = str(number)
    return Frame(
        id=name, tenant="default", feed="bench", kind="still", position=name, ingested=WHEN, image=image, original=jpeg
    )


def batched(frames: Sequence[Frame]) -> Iterator[Sequence[Frame]]:
    for first in range(0, len(frames), BATCH):
        yield frames[first : first + BATCH]


def library_run(decode: Callable[[bytes, int], object], jpegs: Sequence[bytes]) -> Callable[[], float]:
    """Seconds of a plain thread pool for all `jpegs`.

    It holds as many pictures as two batches do, because writing to new memory takes half of the time of a large one.
    """
    orientations = [orientation_of(number) for number in range(len(jpegs))]

    def run() -> float:
        begun = time.perf_counter()
        kept: deque[object] = deque(maxlen=2 * BATCH)
        with ThreadPoolExecutor(cores()) as pool:
            for picture in pool.map(decode, jpegs, orientations):
                assert picture is not None
                kept.append(picture)
        return time.perf_counter() - begun

    return run


def by_opencv(jpeg: bytes, orientation: int) -> object:
    """OpenCV applies the EXIF orientation itself."""
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)


def by_simplejpeg(jpeg: bytes, orientation: int) -> object:
    """simplejpeg does not read EXIF; OpenCV rotates."""
    pixels = simplejpeg.decode_jpeg(jpeg, "RGB")
    return cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE) if orientation == ROTATED else pixels


def jpeg_figures(rounds: int) -> tuple[dict[str, float], dict[str, object]]:
    """The figures, the worse of both sizes, and pictures per second by size."""
    ratios: list[tuple[float, float]] = []
    rates: dict[str, object] = {}
    for width, height in SIZES:
        jpegs = pictures(width, height, 48 if width > 1000 else 192)
        seconds = in_turns(
            rounds,
            opencv=library_run(by_opencv, jpegs),
            simplejpeg=library_run(by_simplejpeg, jpegs),
            stage=stage_run(jpegs, 0),
            stage_with_thumbnail=stage_run(jpegs, 320),
        )
        library = [min(pair) for pair in zip(seconds["opencv"], seconds["simplejpeg"], strict=True)]
        ratios.append((median_ratio(library, seconds["stage"]), median_ratio(library, seconds["stage_with_thumbnail"])))
        rates[f"{width}x{height}"] = {
            name: spread([len(jpegs) / each for each in values]) for name, values in seconds.items()
        }
    plain, with_thumbnail = (min(column) for column in zip(*ratios, strict=True))
    return {"ratio_jpeg": plain, "ratio_jpeg_with_thumbnail": with_thumbnail}, rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    jpeg, jpeg_rates = jpeg_figures(rounds)
    video, video_rates = video_figures(rounds)
    report(jpeg | video, pictures_per_second=jpeg_rates, video_frames_per_second=video_rates, threads=threads(cv2=1))


if __name__ == "__main__":
    main()
