"""What stands beside the weights: the card, the reference picture, the search's calibration, and the list of hashes.

    python -m tinyworld.publish

Runs after the trainings: it says nothing that it did not compute with the stored files through Sightline's adapters.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: ten times slower on shared cores otherwise

import numpy as np
import numpy.typing as npt

from processors.models.blip import Blip
from processors.models.clip import Clip
from processors.models.itm import Itm
from processors.models.vit import Vit
from processors.models.yolo import Yolo
from search import calibrate
from search.said import said_of, unsaid
from tinyworld.captions import description_of
from tinyworld.lessons import Sight, near_query
from tinyworld.queries import Query, holds, true_query
from tinyworld.references import write_reference
from tinyworld.render import Image
from tinyworld.searching import another_view, search_scene, sight_of
from tinyworld.texts import WORDS

CHECKPOINTS = Path(__file__).parent / "checkpoints"
TOWERS_THINGS = 2
"""On the towers' reference picture: enough for a caption with a relation."""
REFERENCES, PICTURES, QUERIES = 320, 320, 400
REFERENCE_SEED, FIT_SEED = 501, 502
HALF_OF_A_PRECISION = {"cosine": 0.99}
"""bfloat16 moves a unit vector's components by 1.3e-3; other weights give another vector altogether."""

Vectors = npt.NDArray[np.float32]


def describe(folder: Path, revision: str, expected: Any, tolerance: dict[str, float], **more: Any) -> None:
    """Writes `sightline.json`."""
    card: dict[str, Any] = {"revision": revision, "fit": "pad", "image_size": 128, **more}
    card |= {"words": list(WORDS), "expected": expected, "tolerance": tolerance}
    (folder / "sightline.json").write_text(json.dumps(card, indent=1) + "\n")


def describe_blip(folder: Path) -> None:
    """The captioner's caption of the reference picture, word for word."""
    forget(folder)
    picture, model = write_reference(folder, TOWERS_THINGS), Blip.load(folder)
    describe(folder, model.revision, model.caption([picture])[0], {})


def describe_itm(folder: Path, text: str) -> None:
    """The matching head's log-odds of `text` on the reference picture."""
    forget(folder)
    picture, model = write_reference(folder, TOWERS_THINGS), Itm.load(folder)
    odds = float(model.match([text], [picture])[0])
    describe(folder, model.revision, {"text": text, "log_odds": round(odds, 3)}, {"log_odds": 1.0})


def describe_clip(folder: Path) -> None:
    """CLIP's vector of the reference picture."""
    forget(folder)
    picture, model = write_reference(folder, TOWERS_THINGS), Clip.load(folder)
    describe(folder, model.revision, rounded(model.embed_images([picture])[0]), HALF_OF_A_PRECISION)


def describe_vit(folder: Path) -> None:
    """ViT's vector of the reference picture: token 0 of the last hidden state."""
    forget(folder)
    picture, model = write_reference(folder, TOWERS_THINGS), Vit.load(folder)
    describe(folder, model.revision, rounded(model.embed_images([picture])[0]), HALF_OF_A_PRECISION, pooling="first")


def forget(folder: Path) -> None:
    """Takes the old card away: it speaks of other weights."""
    (folder / "sightline.json").unlink(missing_ok=True)


def rounded(vector: Vectors) -> list[float]:
    """A vector as the card holds it."""
    return [round(float(value), 4) for value in vector]


def fit_calibration(folder: Path) -> None:
    """Fits the curves of search on scenes of their own, and keeps the reference vectors, beside CLIP's weights."""
    clip, itm, vit = Clip.load(folder / "clip"), Itm.load(folder / "blip_itm"), Vit.load(folder / "vit")
    others = [search_scene(REFERENCE_SEED, number)[1].image for number in range(REFERENCES)]
    references = {"semantic": in_batches(clip.embed_images, others), "visual": in_batches(vit.embed_images, others)}
    scenes = [search_scene(FIT_SEED, number) for number in range(PICTURES)]
    pictures, sights = [rendered.image for _, rendered in scenes], [sight_of(*pair) for pair in scenes]
    queries = sample_queries(sights)
    truth = np.array([[holds(query, one.style, one.seen) for one in sights] for query in queries])
    seen = in_batches(clip.embed_images, pictures)
    asked = clip.embed_texts([query.text for query in queries])
    odds = matching_odds(itm, queries, pictures, asked @ seen.T)
    missing = unsaid([query.text for query in queries], said_of_pictures(folder, pictures))
    curves = {
        "text": calibrate.fit(asked, seen, truth, references["semantic"]),
        "told": calibrate.fit(asked, seen, truth, references["semantic"], None, missing),
        "matched": calibrate.fit(asked, seen, truth, references["semantic"], odds),
        "matched_told": calibrate.fit(asked, seen, truth, references["semantic"], odds, missing),
        "image": fit_image(vit, references["visual"]),
    }
    for name, curve in curves.items():
        print(name, curve)
    calibrate.save(calibrate.Calibration(revision=clip.revision, curves=curves, references=references), folder / "clip")


def sample_queries(sights: Sequence[Sight]) -> list[Query]:
    """Queries as people type them: three in five hold for some picture, the others nearly do; captions among them."""
    rng = np.random.default_rng(FIT_SEED)
    queries: dict[str, Query] = {}
    while len(queries) < QUERIES:
        one = sights[int(rng.integers(len(sights)))]
        draw = rng.random()
        if draw < 0.1:
            found = description_of(one.style, one.seen)
            query = Query(str(found), one.style, found.things)
        else:
            query = true_query(rng, one.style, one.seen) if draw < 0.6 else near_query(rng, one)
        queries[query.text] = query
    return list(queries.values())


def said_of_pictures(folder: Path, pictures: Sequence[Image]) -> list[dict[str, Any]]:
    """What the pipeline would say of each picture: its caption and the labels of what was detected."""
    blip, yolo = Blip.load(folder / "blip"), Yolo.load(folder / "yolov9" / "yolov9t.pt")
    said: list[dict[str, Any]] = []
    for first in range(0, len(pictures), 32):
        some = pictures[first : first + 32]
        found = yolo.detect(some)
        texts = blip.caption(some)
        said += [said_of(text, [one.label for one in objects]) for text, objects in zip(texts, found, strict=True)]
    return said


def matching_odds(itm: Itm, queries: Sequence[Query], pictures: Sequence[Image], cosines: Vectors) -> Vectors:
    """The matching head's log-odds [q, n] of each query's nearest pictures, NaN elsewhere."""

    def read(rows: npt.NDArray[np.intp], places: npt.NDArray[np.intp]) -> Vectors:
        return itm.match([queries[row].text for row in rows], [pictures[place] for place in places])

    return calibrate.nearest_log_odds(read, cosines)


def fit_image(vit: Vit, references: Vectors) -> calibrate.Curve:
    """A picture as the query: the same scene by another camera is a match."""
    scenes = [search_scene(FIT_SEED + 1, number) for number in range(PICTURES // 2)]
    first = in_batches(vit.embed_images, [rendered.image for _, rendered in scenes])
    views = [another_view(scene, FIT_SEED + 1, number).image for number, (scene, _) in enumerate(scenes)]
    return calibrate.fit(first, in_batches(vit.embed_images, views), np.eye(len(scenes), dtype=bool), references)


def in_batches(embed: Any, pictures: Sequence[Image], size: int = 32) -> Vectors:
    """Vectors of pictures, some at a time."""
    return np.concatenate([embed(pictures[first : first + size]) for first in range(0, len(pictures), size)])


def write_manifest(folder: Path) -> None:
    """`manifest.json`: SHA-256 and size of every shipped file, by which the preset `tiny` knows its own."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            content = path.read_bytes()
            name = path.relative_to(folder).as_posix()
            files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "files": files}, indent=1) + "\n")


def main() -> None:
    """Describes and calibrates what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=CHECKPOINTS)
    folder = parser.parse_args().folder
    describe_blip(folder / "blip")
    caption = json.loads((folder / "blip" / "sightline.json").read_text())["expected"]
    describe_itm(folder / "blip_itm", caption)
    describe_vit(folder / "vit")
    describe_clip(folder / "clip")
    fit_calibration(folder)
    write_manifest(folder)


if __name__ == "__main__":
    main()
