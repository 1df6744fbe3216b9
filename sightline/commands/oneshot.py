"""Models on one picture, without log or index: `caption`, `detect`, `embed`, `classify`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer
from rich.markup import escape
from rich.table import Table

from processors.headers import Unreadable, read_header
from schemas.events import Detection, FrameEvent, ImageRef
from schemas.identity import DEFAULT_TENANT, frame_id, still_position
from search.models import Pixels
from search.uploads import decode_upload
from sightline.api.draw import annotated
from sightline.config import Config
from sightline.terminal.options import UsageError, configured, out
from sightline.wiring.weights import chosen_device, with_weights
from stores.blobs import sha256_hex

Pictures = Annotated[list[Path], typer.Argument(help="JPEG, PNG or WebP files.")]
Picture = Annotated[Path, typer.Argument(help="A JPEG, PNG or WebP file.")]
Prompt = Annotated[str, typer.Option(help='How captions begin, e.g. "a photo of".')]
Drawn = Annotated[
    Path | None, typer.Option("--out", "-o", help="Where the drawn picture goes; default: PICTURE.detect.jpg.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the vectors as JSON.")]
Labels = Annotated[str, typer.Option(help='Candidate captions, comma separated: "a red circle, a blue square".')]


def read_picture(path: Path) -> Pixels:
    """Upright RGB. Raises UsageError naming the file."""
    try:
        return decode_upload(path.read_bytes())
    except (OSError, Unreadable) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _stage(config: Config, name: str) -> tuple[dict[str, Any], str, Any]:
    """The stage's table with weights, the device, and the precision to load with."""
    table, device = with_weights(config, name), chosen_device(config.worker.device)
    return table, device, table.get("precision", "auto")


def captions_of(config: Config, images: Sequence[Pixels], prompt: str = "") -> list[str]:
    """What BLIP says of each picture, as the caption stage would. Blocking: loads the model."""
    from processors.models.blip import Blip

    table, device, precision = _stage(config, "caption")
    blip = Blip.load(table["weights"], device=device, precision=precision, fit=table.get("fit") or None)
    prompts = [prompt or table.get("prompt", "")] * len(images)
    return list(blip.caption(images, prompts, most_tokens=table.get("most_tokens", 48)))


@configured
def caption(config: Config, pictures: Pictures, prompt: Prompt = "") -> None:
    """Say what is on each picture."""
    texts = captions_of(config, [read_picture(path) for path in pictures], prompt)
    for path, text in zip(pictures, texts, strict=True):
        out.print(f"[dim]{escape(path.name)}[/]  {text}" if len(pictures) > 1 else text, markup=True)


@configured
def detect(config: Config, picture: Picture, drawn: Drawn = None) -> None:
    """Find objects on a picture, list them, and draw them on a copy."""
    from processors.models import loading
    from processors.models.yolo import Yolo

    pixels = read_picture(picture)
    table, device, precision = _stage(config, "detect")
    yolo = Yolo.load(Path(table["weights"]).expanduser(), device=device, precision=loading.exact(precision, device))
    found = [Detection(label=one.label, confidence=one.confidence, box=one.box) for one in yolo.detect([pixels])[0]]
    target = drawn or picture.with_suffix(".detect.jpg")
    target.write_bytes(annotated(_event(picture, pixels, found), pixels))
    _list(found)
    out.print(f"drawn on {escape(str(target))}")


def _event(picture: Path, pixels: Pixels, found: list[Detection]) -> FrameEvent:
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
        detections=tuple(found),
    )


def _list(found: list[Detection]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("label", "confidence", "box (x1 y1 x2 y2)"):
        table.add_column(name, justify="right" if name == "confidence" else "left")
    for one in found:
        table.add_row(one.label, f"{one.confidence:.0%}", " ".join(f"{side:.0f}" for side in one.box))
    out.print(table if found else "nothing found")


@configured
def embed(config: Config, picture: Picture, as_json: AsJson = False) -> None:  # noqa: FBT002 - a flag as typed
    """Compute both vectors of a picture."""
    from processors.models.clip import Clip
    from processors.models.vit import Vit

    pixels = read_picture(picture)
    table, device, precision = _stage(config, "embed")
    fit = table.get("fit") or None
    vectors = {
        "semantic": Clip.load(table["weights"], device=device, precision=precision, fit=fit).embed_images([pixels])[0],
        "visual": Vit.load(table["visual_weights"], device=device, precision=precision, fit=fit).embed_images([pixels])[
            0
        ],
    }
    if as_json:
        print(msgspec.json.encode({name: vector.tolist() for name, vector in vectors.items()}).decode())
        return
    for name, vector in vectors.items():
        start = " ".join(f"{number:+.3f}" for number in vector[:8])
        out.print(f"[bold]{name}[/]  {vector.size} numbers of unit length: {start} …", markup=True)


@configured
def classify(config: Config, picture: Picture, labels: Labels) -> None:
    """Which of several captions fits a picture best: CLIP's probabilities, which add up to one."""
    from processors.models.clip import Clip

    wanted = [label.strip() for label in labels.split(",") if label.strip()]
    if len(wanted) < 2:
        raise UsageError('--labels: name at least two, for example "a red circle, a blue square"')
    pixels = read_picture(picture)
    table, device, precision = _stage(config, "embed")
    clip = Clip.load(table["weights"], device=device, precision=precision, fit=table.get("fit") or None)
    odds = clip.logit_scale * (clip.embed_texts(wanted) @ clip.embed_images([pixels])[0])
    shares = np.exp(odds - odds.max()) / np.exp(odds - odds.max()).sum()
    for place in np.argsort(-shares):
        out.print(f"{shares[place]:6.1%}  {escape(wanted[place])}")
