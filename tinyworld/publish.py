"""Writes what belongs to the weights: model cards, reference pictures, the search's calibration, and hashes.

    python -m tinyworld.publish

Runs after the trainings. Everything is computed from the stored files through Sightline's adapters.
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
from search.text_evidence import text_payload, unsaid_shares
from tinyworld.captions import description_of
from tinyworld.model_cards import write_reference
from tinyworld.queries import Query, holds, true_query
from tinyworld.render import Image
from tinyworld.search_scenes import another_view, facts_of, search_scene
from tinyworld.tokenizers import WORDS
from tinyworld.training_batches import Facts, near_query

CHECKPOINTS = Path(__file__).parent / "checkpoints"
TOWERS_THINGS = 2
"""Things on the reference picture of the towers: enough for a caption with a relation."""
REFERENCES, PICTURES, QUERIES = 320, 320, 400
REFERENCE_SEED, FIT_SEED = 501, 502
HALF_PRECISION_TOLERANCE = {"cosine": 0.99}
"""bfloat16 changes a unit vector's components by 1.3e-3; other weights give an entirely different vector."""

Vectors = npt.NDArray[np.float32]


def write_card(folder: Path, revision: str, expected: Any, tolerance: dict[str, float], **more: Any) -> None:
    """Write `sightline.json`."""
    card: dict[str, Any] = {"revision": revision, "fit": "pad", "image_size": 128, **more}
    card |= {"words": list(WORDS), "expected": expected, "tolerance": tolerance}
    (folder / "sightline.json").write_text(json.dumps(card, indent=1) + "\n")


def describe_blip(folder: Path) -> None:
    """Write the card of the captioner: its exact caption of the reference picture."""
    remove_card(folder)
    picture, model = write_reference(folder, TOWERS_THINGS), Blip.load(folder)
    write_card(folder, model.revision, model.caption([picture])[0], {})


def describe_itm(folder: Path, text: str) -> None:
    """Write the card of the matching head: its log-odds of `text` for the reference picture."""
    remove_card(folder)
    picture, model = write_reference(folder, TOWERS_THINGS), Itm.load(folder)
    odds = float(model.match([text], [picture])[0])
    write_card(folder, model.revision, {"text": text, "log_odds": round(odds, 3)}, {"log_odds": 1.0})


def describe_clip(folder: Path) -> None:
    """Write the card of CLIP: its vector of the reference picture."""
    remove_card(folder)
    picture, model = write_reference(folder, TOWERS_THINGS), Clip.load(folder)
    write_card(folder, model.revision, rounded(model.embed_images([picture])[0]), HALF_PRECISION_TOLERANCE)


def describe_vit(folder: Path) -> None:
    """Write the card of ViT: its vector of the reference picture, token 0 of the last hidden state."""
    remove_card(folder)
    picture, model = write_reference(folder, TOWERS_THINGS), Vit.load(folder)
    write_card(
        folder, model.revision, rounded(model.embed_images([picture])[0]), HALF_PRECISION_TOLERANCE, pooling="first"
    )


def remove_card(folder: Path) -> None:
    """Remove the old card, which describes other weights."""
    (folder / "sightline.json").unlink(missing_ok=True)


def rounded(vector: Vectors) -> list[float]:
    """A vector as written on the card."""
    return [round(float(value), 4) for value in vector]


def fit_calibration(folder: Path) -> None:
    """Fit the search's curves on separate scenes; write them with the reference vectors beside CLIP's weights."""
    clip, itm, vit = Clip.load(folder / "clip"), Itm.load(folder / "blip_itm"), Vit.load(folder / "vit")
    others = [search_scene(REFERENCE_SEED, number)[1].image for number in range(REFERENCES)]
    references = {"semantic": in_batches(clip.embed_images, others), "visual": in_batches(vit.embed_images, others)}
    scenes = [search_scene(FIT_SEED, number) for number in range(PICTURES)]
    pictures, facts = [rendered.image for _, rendered in scenes], [facts_of(*pair) for pair in scenes]
    queries = sample_queries(facts)
    truth = np.array([[holds(query, each.style, each.seen) for each in facts] for query in queries])
    seen = in_batches(clip.embed_images, pictures)
    texts = clip.embed_texts([query.text for query in queries])
    odds = matching_odds(itm, queries, pictures, texts @ seen.T)
    missing = unsaid_shares([query.text for query in queries], predicted_texts(folder, pictures))
    curves = {
        "text": calibrate.fit(texts, seen, truth, references["semantic"]),
        "told": calibrate.fit(texts, seen, truth, references["semantic"], None, missing),
        "matched": calibrate.fit(texts, seen, truth, references["semantic"], odds),
        "matched_told": calibrate.fit(texts, seen, truth, references["semantic"], odds, missing),
        "image": fit_image(vit, references["visual"]),
    }
    for name, curve in curves.items():
        print(name, curve)
    calibrate.save(calibrate.Calibration(revision=clip.revision, curves=curves, references=references), folder / "clip")


def sample_queries(facts: Sequence[Facts]) -> list[Query]:
    """Queries as people type them, captions among them: three in five hold for a picture, the others nearly do."""
    rng = np.random.default_rng(FIT_SEED)
    queries: dict[str, Query] = {}
    while len(queries) < QUERIES:
        picture = facts[int(rng.integers(len(facts)))]
        draw = rng.random()
        if draw < 0.1:
            description = description_of(picture.style, picture.seen)
            query = Query(str(description), picture.style, description.things)
        else:
            query = true_query(rng, picture.style, picture.seen) if draw < 0.6 else near_query(rng, picture)
        queries[query.text] = query
    return list(queries.values())


def predicted_texts(folder: Path, pictures: Sequence[Image]) -> list[dict[str, Any]]:
    """The payload's texts of each picture as a pipeline writes them: its caption, and the labels of its detections."""
    blip, yolo = Blip.load(folder / "blip"), Yolo.load(folder / "yolov9" / "yolov9t.pt")
    payloads: list[dict[str, Any]] = []
    for first in range(0, len(pictures), 32):
        batch = pictures[first : first + 32]
        for text, detections in zip(blip.caption(batch), yolo.detect(batch), strict=True):
            payloads.append(text_payload(text, [detection.label for detection in detections]))
    return payloads


def matching_odds(itm: Itm, queries: Sequence[Query], pictures: Sequence[Image], cosines: Vectors) -> Vectors:
    """The matching head's log-odds [q, n] of each query's nearest pictures, NaN elsewhere."""

    def read(rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp]) -> Vectors:
        return itm.match([queries[row].text for row in rows], [pictures[column] for column in columns])

    return calibrate.nearest_log_odds(read, cosines)


def fit_image(vit: Vit, references: Vectors) -> calibrate.Curve:
    """The curve for a picture as the query: the same scene from another camera is a match."""
    scenes = [search_scene(FIT_SEED + 1, number) for number in range(PICTURES // 2)]
    first = in_batches(vit.embed_images, [rendered.image for _, rendered in scenes])
    views = [another_view(scene, FIT_SEED + 1, number).image for number, (scene, _) in enumerate(scenes)]
    return calibrate.fit(first, in_batches(vit.embed_images, views), np.eye(len(scenes), dtype=bool), references)


def in_batches(embed: Any, pictures: Sequence[Image], size: int = 32) -> Vectors:
    """Vectors of pictures, in batches."""
    return np.concatenate([embed(pictures[first : first + size]) for first in range(0, len(pictures), size)])


def write_manifest(folder: Path) -> None:
    """Write `manifest.json`: SHA-256 and size of every shipped file, by which the preset `tiny` verifies them."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            content = path.read_bytes()
            name = path.relative_to(folder).as_posix()
            files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    (folder / "manifest.json").write_text(json.dumps({"version": 1, "files": files}, indent=1) + "\n")


def main() -> None:
    """Write cards, calibration and manifest of the checkpoints."""
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
