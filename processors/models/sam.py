"""Segment Anything (Kirillov et al. 2023) in its authors' own classes, at any size.

Their registry knows three published sizes and calls bare `torch.load`; here a folder holds `geometry.json` beside
`model.safetensors`, and a published `.pth` is read with `weights_only`, so that no pickle is executed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from processors.errors import WrongWeights
from processors.models.model_card import check_revision, read_card, reference_picture
from processors.models.out_of_memory import translate_out_of_memory

if TYPE_CHECKING:
    import torch

Image = NDArray[np.uint8]
Precision = Literal["fp32", "bf16", "fp16"]

PUBLISHED = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
"""The registry's names by the width of the encoder, which identifies a published `.pth`."""
PIXEL_MEAN, PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class Geometry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes of a SAM. `global_blocks` attend to the whole picture, the others within `window` × `window` patches;
    `width` is that of the prompts and the decoder."""

    image_size: int
    patch_size: int
    encoder_width: int
    encoder_depth: int
    encoder_heads: int
    global_blocks: tuple[int, ...]
    window: int
    width: int
    decoder_depth: int
    decoder_heads: int
    decoder_mlp: int
    iou_hidden: int
    mask_channels: int


def build(geometry: Geometry) -> Any:
    """A `segment_anything.modeling.Sam` of these sizes with untrained weights, in evaluation mode."""
    import torch
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    patches = geometry.image_size // geometry.patch_size
    encoder = ImageEncoderViT(
        img_size=geometry.image_size,
        patch_size=geometry.patch_size,
        embed_dim=geometry.encoder_width,
        depth=geometry.encoder_depth,
        num_heads=geometry.encoder_heads,
        out_chans=geometry.width,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
        window_size=geometry.window,
        global_attn_indexes=geometry.global_blocks,
    )
    prompts = PromptEncoder(
        embed_dim=geometry.width,
        image_embedding_size=(patches, patches),
        input_image_size=(geometry.image_size, geometry.image_size),
        mask_in_chans=geometry.mask_channels,
    )
    transformer = TwoWayTransformer(
        depth=geometry.decoder_depth,
        embedding_dim=geometry.width,
        num_heads=geometry.decoder_heads,
        mlp_dim=geometry.decoder_mlp,
    )
    decoder = MaskDecoder(
        transformer_dim=geometry.width,
        transformer=transformer,
        iou_head_hidden_dim=geometry.iou_hidden,
    )
    return Sam(encoder, prompts, decoder, list(PIXEL_MEAN), list(PIXEL_STD)).eval()


class Segmenter:
    """A SAM with weights. `image_size` is the longer side of its input, `revision` names its weights."""

    def __init__(self, model: Any, weights: Path, *, device: str, precision: Precision) -> None:
        import torch
        from segment_anything import SamPredictor

        self.weights, self.precision = weights, precision
        self.device = torch.device(device)
        self.image_size: int = model.image_encoder.img_size
        self.revision = _short_hash(weights)
        self.model = model.eval().to(self.device)
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        if half is not None:
            for module in (self.model.image_encoder, self.model.mask_decoder):
                module.forward = partial(_in_half, module.forward, self.device.type, half)
        self._predictor = SamPredictor(self.model)

    @classmethod
    def load(cls, path: Path, *, device: str = "cpu", precision: Precision = "fp32") -> Self:
        """Load a folder with `geometry.json` and `model.safetensors`, or a published `.pth`.

        Raises `WrongWeights` when something is missing, does not fit, or the `.pth` holds more than tensors.
        """
        if path.is_dir():
            weights = path / "model.safetensors"
            model, tensors = _from_geometry(path / "geometry.json"), _safetensors(weights)
        else:
            weights = path
            tensors = _tensors_of_pickle(path)
            model = _from_registry(path, tensors)
        try:
            model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
        except RuntimeError as error:
            raise WrongWeights(f"{weights}: does not fit its geometry: {str(error).splitlines()[0]}") from error
        return cls(model, weights, device=device, precision=precision)

    def masks_in_boxes(self, image: Image, boxes: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """The object in each box of the picture, uint8 RGB [H, W, 3]: masks [n, H, W] and the model's own estimate of
        their IoU [n].

        Boxes are float32 [n, 4] xyxy in pixels. Raises `OutOfMemory`.
        """
        import torch

        if not len(boxes):
            return np.zeros((0, *image.shape[:2]), np.bool_), np.zeros(0, np.float32)
        with translate_out_of_memory():
            self._predictor.set_image(image)
            corners = torch.as_tensor(boxes, dtype=torch.float32, device=self.device)
            corners = self._predictor.transform.apply_boxes_torch(corners, image.shape[:2])
            masks, expected, _ = self._predictor.predict_torch(None, None, corners, multimask_output=False)
        return masks[:, 0].cpu().numpy(), expected[:, 0].cpu().numpy()

    def segment_everything(self, image: Image) -> list[dict[str, Any]]:
        """All masks of segment-anything's automatic generator at its default thresholds, as the generator's records.

        It prompts with 1,024 points and costs a hundred times what boxes do. Raises `OutOfMemory`.
        """
        from segment_anything import SamAutomaticMaskGenerator

        with translate_out_of_memory():
            return list(SamAutomaticMaskGenerator(self.model).generate(image))

    def check_reference(self) -> None:
        """Compare with the picture, boxes and masks beside the weights, if there are any.

        Raises `WrongWeights` naming what differs.
        """
        folder = self.weights.parent
        card = read_card(folder)
        if card is None:
            return
        check_revision(folder, card, self.revision)
        picture = reference_picture(folder)
        boxes = np.array([entry["box"] for entry in card.expected], np.float32)
        masks, _ = self.masks_in_boxes(picture, boxes)
        for mask, entry in zip(masks, card.expected, strict=True):
            if abs(int(mask.sum()) - entry["area_pixels"]) > card.tolerance["area_share"] * entry["area_pixels"]:
                raise WrongWeights(
                    f"{self.weights}: wrong mask on the reference picture: "
                    f"{int(mask.sum())} pixels instead of {entry['area_pixels']} in box {entry['box']}"
                )


def _in_half(forward: Callable[..., Any], device: str, half: torch.dtype, *args: Any, **named: Any) -> Any:
    """The result of `forward`, computed in `half` and returned in fp32, since the generator passes it to NumPy, which
    has no bf16.

    Prompts are computed in fp32: bf16 resolves positions in a picture of 1024 pixels to no better than two pixels.
    """
    import torch

    with torch.autocast(device, half):
        result = forward(*args, **named)
    return result.float() if isinstance(result, torch.Tensor) else tuple(tensor.float() for tensor in result)


def _from_geometry(path: Path) -> Any:
    try:
        return build(msgspec.json.decode(path.read_bytes(), type=Geometry))
    except (OSError, msgspec.DecodeError) as error:
        raise WrongWeights(f"{path}: {error}") from error


def _safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise WrongWeights(f"{path}: {error}") from error


def _tensors_of_pickle(path: Path) -> dict[str, torch.Tensor]:
    """The state dict in a `.pth`; anything but tensors and plain containers is refused, not executed."""
    import pickle

    import torch

    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except (OSError, EOFError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError) as error:
        raise WrongWeights(f"{path}: refused by safe loading: {str(error).splitlines()[0]}") from error


def _from_registry(path: Path, tensors: dict[str, torch.Tensor]) -> Any:
    """The registry's model whose encoder has the weights' width. Raises `WrongWeights`."""
    from segment_anything import sam_model_registry

    positions = tensors.get("image_encoder.pos_embed")
    name = PUBLISHED.get(positions.shape[-1]) if positions is not None else None
    if name is None:
        raise WrongWeights(f"{path}: no published SAM ({', '.join(PUBLISHED.values())}); others need a geometry.json")
    return sam_model_registry[name]()


def _short_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
