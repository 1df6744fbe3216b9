"""Writes the trained parts as checkpoints of transformers' own classes, in half precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    BlipForImageTextRetrieval,
    BlipImageProcessor,
    BlipProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
)

from tinyworld.tokenizers import (
    BLIP_POSITIONS,
    CLIP_POSITIONS,
    SPECIAL,
    blip_tokenizer,
    blip_vocabulary,
    clip_tokenizer,
    clip_vocabulary,
)
from tinyworld.tower import Geometry, Tower

State = dict[str, Tensor]
CAPTION_TOKENS = 48
"""Longer than the longest caption (37 tokens)."""


def blip_config(geometry: Geometry) -> BlipConfig:
    """BLIP around the tower: two text layers of its width, token ids as in the tokenizer."""
    vocabulary = blip_vocabulary()
    text = {
        "vocab_size": len(vocabulary),
        "hidden_size": geometry.width,
        "encoder_hidden_size": geometry.width,
        "intermediate_size": 2 * geometry.width,
        "projection_dim": geometry.width,
        "num_hidden_layers": 2,
        "num_attention_heads": geometry.heads,
        "max_position_embeddings": BLIP_POSITIONS,
        "bos_token_id": vocabulary[SPECIAL["dec"]],
        "eos_token_id": vocabulary[SPECIAL["sep"]],
        "sep_token_id": vocabulary[SPECIAL["sep"]],
        "pad_token_id": vocabulary[SPECIAL["pad"]],
    }
    return BlipConfig(
        text_config=text,
        # BLIP's own initial range for vision weights is 1e-10, which makes all pictures alike where it is used.
        vision_config=_vision(geometry) | {"initializer_range": 0.02, "projection_dim": geometry.width},
        projection_dim=geometry.width,
        image_text_hidden_size=64,
        initializer_range=0.02,
    )


def clip_config(geometry: Geometry) -> CLIPConfig:
    """CLIP around the tower: three text layers of its width."""
    vocabulary, _ = clip_vocabulary()
    end = vocabulary["<|endoftext|>"]
    text = {
        "vocab_size": len(vocabulary),
        "hidden_size": geometry.width,
        "intermediate_size": geometry.inner,
        "num_hidden_layers": 3,
        "num_attention_heads": geometry.heads,
        "max_position_embeddings": CLIP_POSITIONS,
        "hidden_act": "gelu",
        "bos_token_id": vocabulary["<|startoftext|>"],
        "eos_token_id": end,
        "pad_token_id": end,
    }
    return CLIPConfig(text_config=text, vision_config=_vision(geometry), projection_dim=geometry.width)


def vit_config(geometry: Geometry) -> ViTConfig:
    """ViT with the tower's dimensions."""
    return ViTConfig(**_vision(geometry), pooler_output_size=geometry.width)


def _vision(geometry: Geometry) -> dict[str, Any]:
    return {
        "hidden_size": geometry.width,
        "intermediate_size": geometry.inner,
        "num_hidden_layers": geometry.depth,
        "num_attention_heads": geometry.heads,
        "image_size": geometry.size,
        "patch_size": geometry.patch,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
    }


def blip_vision_state(tower: Tower) -> State:
    """The tower under BLIP's names."""
    width, patch = tower.geometry.width, tower.geometry.patch
    state: State = {
        "embeddings.class_embedding": tower.token.view(1, 1, width),
        "embeddings.position_embedding": tower.positions[None],
        "embeddings.patch_embedding.weight": tower.patch.weight.view(width, 3, patch, patch),
        "embeddings.patch_embedding.bias": torch.zeros(width),
    }
    names = {"norm1": "layer_norm1", "norm2": "layer_norm2", "qkv": "self_attn.qkv", "out": "self_attn.projection"}
    names |= {"fc1": "mlp.fc1", "fc2": "mlp.fc2"}
    for index, block in enumerate(tower.blocks):
        for ours, theirs in names.items():
            for part in ("weight", "bias"):
                state[f"encoder.layers.{index}.{theirs}.{part}"] = getattr(getattr(block, ours), part)
    return state | {f"post_layernorm.{part}": getattr(tower.norm, part) for part in ("weight", "bias")}


def clip_vision_state(tower: Tower) -> State:
    """The tower under CLIP's names, including the norm of its embeddings."""
    width, patch = tower.geometry.width, tower.geometry.patch
    state: State = {
        "embeddings.class_embedding": tower.token,
        "embeddings.position_embedding.weight": tower.positions,
        "embeddings.patch_embedding.weight": tower.patch.weight.view(width, 3, patch, patch),
    }
    names = {"norm1": "layer_norm1", "norm2": "layer_norm2", "out": "self_attn.out_proj"}
    names |= {"fc1": "mlp.fc1", "fc2": "mlp.fc2"}
    state |= _layers(tower, "encoder.layers.", names, "self_attn.")
    for ours, theirs in ((tower.early, "pre_layrnorm"), (tower.norm, "post_layernorm")):
        state |= {f"{theirs}.{part}": getattr(ours, part) for part in ("weight", "bias")}
    return state


def vit_state(tower: Tower) -> State:
    """The tower under ViT's names; the pooler, which nothing uses, is the identity on token 0."""
    width, patch = tower.geometry.width, tower.geometry.patch
    state: State = {
        "embeddings.cls_token": tower.token.view(1, 1, width),
        "embeddings.position_embeddings": tower.positions[None],
        "embeddings.patch_embeddings.projection.weight": tower.patch.weight.view(width, 3, patch, patch),
        "embeddings.patch_embeddings.projection.bias": torch.zeros(width),
        "pooler.dense.weight": torch.eye(width),
        "pooler.dense.bias": torch.zeros(width),
    }
    names = {"norm1": "layernorm_before", "norm2": "layernorm_after", "out": "attention.o_proj"}
    names |= {"fc1": "mlp.fc1", "fc2": "mlp.fc2"}
    state |= _layers(tower, "layers.", names, "attention.")
    return state | {f"layernorm.{part}": getattr(tower.norm, part) for part in ("weight", "bias")}


def _layers(tower: Tower, prefix: str, names: dict[str, str], attention: str) -> State:
    """The blocks under other names, with queries, keys and values separate."""
    state: State = {}
    for index, block in enumerate(tower.blocks):
        for part in ("weight", "bias"):
            for ours, theirs in names.items():
                state[f"{prefix}{index}.{theirs}.{part}"] = getattr(getattr(block, ours), part)
            q, k, v = getattr(block.qkv, part).chunk(3)
            for name, value in (("q", q), ("k", k), ("v", v)):
                state[f"{prefix}{index}.{attention}{name}_proj.{part}"] = value
    return state


def save_blip(folder: Path, tower: Tower, decoder: State) -> None:
    """The captioner; `decoder` is the state of its text decoder."""
    model = BlipForConditionalGeneration(blip_config(tower.geometry))
    model.vision_model.load_state_dict(blip_vision_state(tower))
    model.text_decoder.load_state_dict(decoder)
    generation = model.generation_config
    generation.max_length, generation.num_beams, generation.do_sample = CAPTION_TOKENS, 1, False
    _save(model, folder)
    BlipProcessor(_image_processor(BlipImageProcessor, tower.geometry), blip_tokenizer()).save_pretrained(folder)


def save_itm(folder: Path, tower: Tower, encoder: State, head: State, projections: dict[str, State]) -> None:
    """The matching model: text encoder, its two-way head, and the projections of its cosine."""
    model = BlipForImageTextRetrieval(blip_config(tower.geometry))
    model.vision_model.load_state_dict(blip_vision_state(tower))
    model.text_encoder.load_state_dict(encoder)
    model.itm_head.load_state_dict(head)
    for name, state in projections.items():
        getattr(model, name).load_state_dict(state)
    _save(model, folder)
    BlipProcessor(_image_processor(BlipImageProcessor, tower.geometry), blip_tokenizer()).save_pretrained(folder)


def save_clip(folder: Path, tower: Tower, text: State, projections: dict[str, State], scale: Tensor) -> None:
    """CLIP; `scale` is the logarithm of the factor of its similarity."""
    model = CLIPModel(clip_config(tower.geometry))
    model.vision_model.load_state_dict(clip_vision_state(tower))
    model.text_model.load_state_dict(text)
    for name, state in projections.items():
        getattr(model, name).load_state_dict(state)
    model.logit_scale.data.copy_(scale)
    _save(model, folder)
    CLIPProcessor(_image_processor(CLIPImageProcessor, tower.geometry), clip_tokenizer()).save_pretrained(folder)


def save_vit(folder: Path, tower: Tower) -> None:
    """ViT; its embedding is token 0 of the last hidden state."""
    model = ViTModel(vit_config(tower.geometry))
    model.load_state_dict(vit_state(tower))
    _save(model, folder)
    _image_processor(ViTImageProcessor, tower.geometry).save_pretrained(folder)


def _image_processor(kind: Any, geometry: Geometry) -> Any:
    """transformers' processor, for use without Sightline: it stretches, Sightline pads (see `sightline.json`)."""
    square = {"height": geometry.size, "width": geometry.size}
    half = [0.5, 0.5, 0.5]
    options: dict[str, Any] = {"size": square, "image_mean": half, "image_std": half, "do_resize": True}
    if kind is CLIPImageProcessor:
        options |= {"do_center_crop": False, "crop_size": square}
    return kind(**options)


def _save(model: Any, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    for path in folder.iterdir():  # transformers writes weights that only the owner may read
        path.chmod(0o644)
