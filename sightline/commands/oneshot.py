"""Models on one picture, without log or index: `caption`, `detect`, `embed`, `classify`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer
from rich.markup import escape

from processors.headers import read_header
from schemas.events import Detection, FrameEvent, ImageRef
from schemas.identity import DEFAULT_TENANT, frame_id, still_position
from schemas.pictures import FORMATS
from search.annotate import annotated
from search.models import PictureModel, Pixels
from sightline.config import Config
from sightline.terminal.options import UsageError, configured, out
from sightline.terminal.outputs import check_output, write_output
from sightline.terminal.pictures import read_picture
from sightline.terminal.render import new_table, out_of_domain_line
from sightline.wiring.models import caption_pictures, load_clip, load_vit, load_yolo
from stores.blobs import sha256_hex

PictureFiles = Annotated[list[Path], typer.Argument(help=f"Pictures: {FORMATS}.")]
PictureFile = Annotated[Path, typer.Argument(help=f"A picture: {FORMATS}.")]
Prompt = Annotated[str, typer.Option(help='How captions begin, e.g. "a photo of".')]
AnnotatedFile = Annotated[
    Path | None, typer.Option("--out", "-o", help="JPEG file for the annotated image; default: PICTURE.detect.jpg.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the vectors as JSON.")]
Labels = Annotated[str, typer.Option(help='Candidate captions, comma separated: "a red circle, a blue square".')]

SHOWN_NUMBERS = 8
"""Of a vector that is printed for people."""


@configured
def caption(config: Config, pictures: PictureFiles, prompt: Prompt = "") -> None:
    """Print a caption for each picture."""
    captions = caption_pictures(config, [read_picture(path) for path in pictures], prompt)
    for path, known in zip(pictures, captions, strict=True):
        text = escape(known) if known is not None else f"[yellow]{out_of_domain_line(1, config.models)}[/]"
        out.print(f"[dim]{escape(path.name)}[/]  {text}" if len(pictures) > 1 else text, markup=True)


@configured
def detect(config: Config, picture: PictureFile, target: AnnotatedFile = None) -> None:
    """Detect objects in a picture, list them, and write a copy with their boxes drawn."""
    pixels = read_picture(picture)
    target = target or picture.with_suffix(".detect.jpg")
    check_output(target)
    (boxes,) = load_yolo(config).detect([pixels])
    detections = [Detection(label=each.label, confidence=each.confidence, box=each.box) for each in boxes]
    write_output(target, annotated(_event(picture, pixels, detections), pixels))
    _print_detections(detections)
    out.print(f"Annotated image written to {escape(str(target))}")


def _event(picture: Path, pixels: Pixels, detections: Sequence[Detection]) -> FrameEvent:
    content = picture.read_bytes()
    sha256, (height, width) = sha256_hex(content), pixels.shape[:2]
    position = still_position(picture.name, sha256)
    return FrameEvent(
        id=frame_id(DEFAULT_TENANT, "one-shot", position),
        tenant=DEFAULT_TENANT,
        feed="one-shot",
        kind="still",
        position=position,
        ingested=datetime.now(UTC),
        image=ImageRef(
            format=read_header(content).format, sha256=sha256, size_bytes=len(content), width=width, height=height
        ),
        detections=tuple(detections),
    )


def _print_detections(detections: Sequence[Detection]) -> None:
    table = new_table(("label", "confidence", "box (x1 y1 x2 y2)"), right=("confidence",))
    for each in detections:
        table.add_row(each.label, f"{each.confidence:.0%}", " ".join(f"{side:.0f}" for side in each.box))
    out.print(table if detections else "no objects detected")


@configured
def embed(config: Config, picture: PictureFile, as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag as typed
    """Compute the semantic and the visual vector of a picture."""
    pixels = read_picture(picture)
    models: dict[str, PictureModel] = {"semantic": load_clip(config), "visual": load_vit(config)}
    vectors = {name: model.embed_images([pixels])[0] for name, model in models.items()}
    if as_json:
        print(msgspec.json.encode({name: vector.tolist() for name, vector in vectors.items()}).decode())
        return
    for name, vector in vectors.items():
        start = " ".join(f"{number:+.3f}" for number in vector[:SHOWN_NUMBERS])
        out.print(f"[bold]{name}[/]  {vector.size} numbers of unit length: {start} …", markup=True)


@configured
def classify(config: Config, picture: PictureFile, labels: Labels) -> None:
    """Rank candidate captions for a picture, with CLIP's probabilities; they add up to one."""
    candidates = [label.strip() for label in labels.split(",") if label.strip()]
    if len(candidates) < 2:
        raise UsageError('--labels: name at least two, for example "a red circle, a blue square"')
    pixels, clip = read_picture(picture), load_clip(config)
    (vector,), outside = clip.embed_in_domain([pixels])
    if outside.any():
        raise UsageError(out_of_domain_line(1, config.models))
    logits = clip.logit_scale * (clip.embed_texts(candidates) @ vector)
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    for index in np.argsort(-shares):
        out.print(f"{shares[index]:6.1%}  {escape(candidates[index])}")
