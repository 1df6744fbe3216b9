"""Whether a search finds what is asked for, leaves out what is excluded, and reports that nothing matches.

    python -m bench.search [--scenes N] [--seed N]

Scenes of the miniature world that no model was trained on go through the pipeline's own stages (decode, detect,
caption, embed with the tiny models) into the embedded index, and are searched by the same `Searcher` as everywhere.

- `forbidden_in_top10`: over 200 queries with negatives ("a red circle, but no square"), the number of pictures among
  the first ten that show what is excluded. Each query has allowed pictures and pictures that only the negative
  excludes.
- `allowed_recall`: of the allowed pictures, at most ten per query, the share that is found.
- `nothing_auroc`: how well the best result's probability separates queries with a match from queries without one, half
  of which are one word away from an indexed scene; the worse of an index of many scenes and of one with the frames of a
  single static camera.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import cv2
import numpy as np

from bench.report import report, threads
from bench.search_queries import Negative, Picture, absent, negatives, present
from processors.frame import Frame, freeze
from processors.models.clip import Clip
from processors.models.itm import Itm
from processors.models.torch_threads import thread_count
from processors.models.vit import Vit
from processors.stage import Stage
from processors.stages.caption import Caption
from processors.stages.decode import Decode
from processors.stages.detect import Detect
from processors.stages.embed import Embed
from schemas import points
from schemas.events import FrameEvent, ImageRef
from schemas.identity import frame_id, still_position
from search.calibrate import auroc, load
from search.models import SearchModels
from search.query import parse
from search.results import SearchResult
from search.retrieve import Searcher, SearcherSettings
from search.vocabulary import load_vocabulary
from stores.blobs import blob_uri, sha256_hex
from stores.edge.client import EdgeIndex
from stores.folder import BlobFolder
from stores.index import CollectionSpec, Point
from tinyworld.render import Image, render
from tinyworld.scenes import Scene, sample_light, with_light
from tinyworld.search_scenes import facts_of, search_scene

CHECKPOINTS = Path(__file__).parents[1] / "tinyworld" / "checkpoints"
TENANT, FEED = "default", "bench"
BATCH = 16
NEGATIVES = 200
PRESENT = 100
"""Queries with a match for `nothing_auroc`, and as many without."""
CAMERAS, CAMERA_FRAMES, CAMERA_QUERIES = 10, 8, 10
TOP = 10


class Pipeline:
    """The stages that search needs, opened once."""

    def __init__(self) -> None:
        embed = Embed.Settings(weights=str(CHECKPOINTS / "clip"), visual_weights=str(CHECKPOINTS / "vit"))
        self._stages: list[Stage] = [
            Decode(Decode.Settings(threads=1)),
            Detect(Detect.Settings(weights=str(CHECKPOINTS / "yolov9"))),
            Caption(Caption.Settings(weights=str(CHECKPOINTS / "blip"))),
            Embed(embed),
        ]
        for stage in self._stages:
            stage.open("cpu")

    def events(self, pictures: Sequence[bytes], first: int, model_set: str) -> list[FrameEvent]:
        """Enriched events of JPEG pictures; their position is their number."""
        frames = [_frame(picture, first + number, model_set) for number, picture in enumerate(pictures)]
        for stage in self._stages:
            for start in range(0, len(frames), BATCH):
                verdicts = stage.process(frames[start : start + BATCH])
                assert not any(verdicts), verdicts
        return [freeze(frame) for frame in frames]


def _frame(picture: bytes, number: int, model_set: str) -> Frame:
    now, sha256 = datetime.now(UTC), sha256_hex(picture)
    position = still_position(f"{model_set}-{number}.jpg", sha256)
    uri = blob_uri(TENANT, FEED, now.date(), sha256)
    image = ImageRef(format="jpeg", sha256=sha256, size_bytes=len(picture), uri=uri)
    return Frame(
        id=frame_id(TENANT, FEED, position), tenant=TENANT, feed=FEED, kind="still", position=position, ingested=now,
        published=now, image=image, original=picture, model_set=model_set,
    )  # fmt: skip


class Bench:
    """An index in a folder with one collection and one searcher per case."""

    def __init__(self, folder: Path) -> None:
        self.pipeline = Pipeline()
        self.index, self.blobs = EdgeIndex(folder / "index"), BlobFolder(folder / "blobs")
        self.clip, self.vit = Clip.load(CHECKPOINTS / "clip"), Vit.load(CHECKPOINTS / "vit")
        self.itm = Itm.load(CHECKPOINTS / "blip_itm")
        self.calibration = load(CHECKPOINTS / "clip")
        assert self.calibration is not None, "the tiny CLIP is not calibrated; run python -m tinyworld.publish"

    async def fill(self, name: str, scenes: Sequence[tuple[Scene, Any]]) -> list[Picture]:
        """Index these scenes in a collection of their own."""
        sizes = {points.SEMANTIC: self.clip.dimension, points.VISUAL: self.vit.dimension}
        await self.index.ensure(CollectionSpec(name=name, vectors=sizes, payload=points.FRAME_FIELDS))
        jpegs = [_jpeg(rendered.image) for _, rendered in scenes]
        events = await asyncio.to_thread(self.pipeline.events, jpegs, 0, name)
        for event, jpeg in zip(events, jpegs, strict=True):
            await self.blobs.put(TENANT, event.image.uri, jpeg)
        indexed = [Point(id=event.id, vectors=points.vectors(event), payload=points.payload(event)) for event in events]
        await self.index.upsert(name, indexed)
        return [Picture(event.id, facts_of(*pair)) for event, pair in zip(events, scenes, strict=True)]

    def searcher(self, name: str, *, rerank: bool = True) -> Searcher:
        models = SearchModels(
            semantic=self.clip,
            visual=self.vit,
            matcher=self.itm if rerank else None,
            calibration=self.calibration,
            vocabulary=load_vocabulary(CHECKPOINTS / "clip"),
        )
        return Searcher(self.index, models, SearcherSettings(tenant=TENANT, collection=name), self.blobs)

    async def close(self) -> None:
        await self.index.close()
        await self.blobs.close()


def _jpeg(image: Image) -> bytes:
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


async def search(searcher: Searcher, text: str, limit: int = TOP) -> SearchResult:
    return await searcher.search(parse(text, now=datetime.now(UTC), limit=limit))


async def measure_negatives(
    ask: Callable[[Negative], Awaitable[list[str]]], cases: Sequence[Negative]
) -> dict[str, Any]:
    """Forbidden pictures among the first ten, and the share of allowed ones found."""
    forbidden, recalls, wrong = 0, [], []
    for case in cases:
        shown = await ask(case)
        bad = len(case.forbidden & set(shown))
        forbidden += bad
        recalls.append(len(case.allowed & set(shown)) / min(TOP, len(case.allowed)))
        wrong += [case.text] if bad else []
    return {"forbidden_in_top10": forbidden, "allowed_recall": float(np.mean(recalls)), "wrong": wrong[:8]}


async def best(searcher: Searcher, texts: Sequence[str]) -> tuple[list[float], list[bool]]:
    """The best probability of each query, and whether the result is that nothing matches."""
    results = [await search(searcher, text) for text in texts]
    return [result.best or 0.0 for result in results], [result.nothing_matches for result in results]


@dataclass(slots=True)
class MatchScores:
    """Best probabilities of queries with and without a match, pooled over indexes."""

    present: list[float]
    near: list[float]
    far: list[float]
    nothing_for_present: list[bool]
    nothing_for_absent: list[bool]

    @classmethod
    def empty(cls) -> MatchScores:
        return cls([], [], [], [], [])

    async def add(self, searcher: Searcher, present: Sequence[str], near: Sequence[str], far: Sequence[str]) -> None:
        for texts, scores, verdicts in (
            (present, self.present, self.nothing_for_present),
            (near, self.near, self.nothing_for_absent),
            (far, self.far, self.nothing_for_absent),
        ):
            probabilities, nothing = await best(searcher, texts)
            scores += probabilities
            verdicts += nothing

    def figures(self) -> dict[str, float]:
        present = np.array(self.present)
        return {
            "auroc": round(auroc(present, np.array(self.near + self.far)), 4),
            "auroc_near": round(auroc(present, np.array(self.near)), 4),
            "auroc_far": round(auroc(present, np.array(self.far)), 4),
            "nothing_said_where_something_is": round(float(np.mean(self.nothing_for_present)), 4),
            "nothing_said_where_nothing_is": round(float(np.mean(self.nothing_for_absent)), 4),
            "queries": len(self.present) + len(self.near) + len(self.far),
        }


def cameras(seed: int) -> Iterator[list[tuple[Scene, Any]]]:
    """Yields the frames of each static camera: the scene stays, light and noise change."""
    for number in range(CAMERAS):
        scene, _ = search_scene(seed + 1000, 2 * number + 1)
        rng = np.random.default_rng([seed, 7, number])
        lit = [with_light(scene, sample_light(rng, style=scene.style)) for _ in range(CAMERA_FRAMES)]
        yield [(each, render(each, rng=rng)) for each in lit]


async def static_cameras(bench: Bench, seed: int, *, rerank: bool) -> MatchScores:
    """Scores over all cameras, each in a collection of its own."""
    scores, rng = MatchScores.empty(), np.random.default_rng([seed, 8])
    outside = (facts_of(*search_scene(seed + 2000, number)) for number in range(10**6))
    for number, scenes in enumerate(cameras(seed)):
        name = f"frames-camera-{number}"
        pictures = await bench.fill(name, scenes)
        searcher = bench.searcher(name, rerank=rerank)
        queries = present(rng, pictures, min(CAMERA_QUERIES, 4 if len(pictures[0].facts.seen) == 1 else CAMERA_QUERIES))
        near, far = absent(rng, pictures, CAMERA_QUERIES, lambda: next(outside))
        await scores.add(searcher, queries, near, far)
        searcher.close()
    return scores


async def run(scenes: int, seed: int) -> None:
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        pictures = await bench.fill("frames-many", [search_scene(seed, number) for number in range(scenes)])
        used = threads(torch=thread_count())
        print(f"{scenes} pictures indexed after {time.monotonic() - start:.0f} s")
        rng = np.random.default_rng([seed, 9])
        cases = negatives(rng, pictures, NEGATIVES)
        outside = (facts_of(*search_scene(seed + 3000, number)) for number in range(10**6))
        queries = present(rng, pictures, PRESENT)
        near, far = absent(rng, pictures, PRESENT, lambda: next(outside))
        breakdown: dict[str, Any] = {}
        for name, rerank in (("cosine alone", False), ("with the matching head", True)):
            searcher = bench.searcher("frames-many", rerank=rerank)
            breakdown[name] = await _measured(bench, searcher, cases, (queries, near, far), seed, rerank=rerank)
            searcher.close()
            print(name, breakdown[name], f"after {time.monotonic() - start:.0f} s")
        breakdown["negatives embedded as typed"] = await _as_typed(bench, cases)
        await bench.close()
    final = breakdown["with the matching head"]
    figures = {
        "forbidden_in_top10": final["negatives"]["forbidden_in_top10"],
        "allowed_recall": final["negatives"]["allowed_recall"],
        "nothing_auroc": min(final["many scenes"]["auroc"], final["static camera"]["auroc"]),
    }
    report(figures, breakdown=breakdown, scenes=scenes, negative_queries=len(cases), threads=used)


async def _measured(
    bench: Bench,
    searcher: Searcher,
    cases: Sequence[Negative],
    texts: tuple[Sequence[str], Sequence[str], Sequence[str]],
    seed: int,
    *,
    rerank: bool,
) -> dict[str, Any]:
    async def ask(case: Negative) -> list[str]:
        return [hit.id for hit in (await search(searcher, case.text)).hits]

    many = MatchScores.empty()
    await many.add(searcher, *texts)
    static = await static_cameras(bench, seed, rerank=rerank)
    return {
        "negatives": await measure_negatives(ask, cases),
        "many scenes": many.figures(),
        "static camera": static.figures(),
    }


async def _as_typed(bench: Bench, cases: Sequence[Negative]) -> dict[str, Any]:
    """The results of an index alone for the whole sentence, including its "no"."""

    async def ask(case: Negative) -> list[str]:
        vector = bench.clip.embed_texts([case.text.replace('"', "")])[0]
        return [hit.id for hit in await bench.index.search("frames-many", points.SEMANTIC, vector, limit=TOP)]

    return await measure_negatives(ask, cases)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--scenes", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.scenes, arguments.seed))


if __name__ == "__main__":
    main()
