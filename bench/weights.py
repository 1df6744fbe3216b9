"""Models of the real architectures at seeded random weights, saved like published checkpoints.

Their captions mean nothing, but they cost what the real ones cost: `base` is for benchmarks, `small` for tests of
loading and decoding. `initializer_range` is 0.02 in every tower (BLIP's own initial range for vision weights, 1e-10,
makes all pictures alike). Vocabularies are as large as the published ones; their words are single letters.

    python -m bench.weights FOLDER
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from processors.models import torch_threads
from processors.models.yolo import import_ultralytics


@dataclass(frozen=True, slots=True)
class Size:
    """The dimensions of a text or vision tower."""

    width: int
    inner: int
    depth: int
    heads: int
    picture: int
    patch: int


@dataclass(frozen=True, slots=True)
class Sizes:
    blip: Size
    clip: Size
    clip_text: Size
    vit: Size
    blip_words: int
    clip_words: int
    yolo: str
    yolo_picture: int


BASE = Sizes(
    blip=Size(768, 3072, 12, 12, 384, 16),
    clip=Size(768, 3072, 12, 12, 224, 32),
    clip_text=Size(512, 2048, 12, 8, 224, 32),
    vit=Size(768, 3072, 12, 12, 224, 16),
    blip_words=30_524,
    clip_words=49_408,
    yolo="yolov9c.yaml",
    yolo_picture=640,
)
SMALL = Sizes(
    blip=Size(32, 64, 2, 2, 48, 8),
    clip=Size(32, 64, 2, 2, 48, 8),
    clip_text=Size(32, 64, 2, 2, 48, 8),
    vit=Size(32, 64, 2, 2, 48, 8),
    blip_words=200,
    clip_words=600,
    yolo="yolov9t.yaml",
    yolo_picture=160,
)
PAD, UNKNOWN, START, END, MASK = 0, 100, 101, 102, 103
"""Ids of BERT's special tokens in the published vocabulary."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def build(folder: Path, sizes: Sizes = BASE, *, seed: int = 0, range_: float = 0.02) -> dict[str, Path]:
    """Save every model into `folder`; returns the folders by role: detect, caption, matching, semantic, visual."""
    torch_threads.apply_thread_count()
    import torch

    torch.manual_seed(seed)
    roles = {"detect": "yolov9", "caption": "blip", "matching": "blip_itm", "semantic": "clip", "visual": "vit"}
    folders = {role: folder / name for role, name in roles.items()}
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    save_blip(folders["caption"], folders["matching"], sizes, range_)
    save_clip(folders["semantic"], sizes, range_)
    save_vit(folders["visual"], sizes, range_)
    save_yolo(folders["detect"] / f"{Path(sizes.yolo).stem}.pt", sizes)
    return folders


def tower(size: Size, range_: float) -> dict[str, Any]:
    return {
        "hidden_size": size.width,
        "intermediate_size": size.inner,
        "num_hidden_layers": size.depth,
        "num_attention_heads": size.heads,
        "initializer_range": range_,
    }


def vision_tower(size: Size, range_: float) -> dict[str, Any]:
    return tower(size, range_) | {"image_size": size.picture, "patch_size": size.patch}


def save_blip(captioner: Path, matcher: Path, sizes: Sizes, range_: float) -> None:
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipForImageTextRetrieval,
        BlipImageProcessor,
        BlipProcessor,
    )

    words = {f"[unused{number}]": number for number in range(sizes.blip_words)}
    special = {"[PAD]": PAD, "[UNK]": UNKNOWN, "[CLS]": START, "[SEP]": END, "[MASK]": MASK}
    spelled = [*LETTERS, *(f"##{letter}" for letter in LETTERS), ".", ","]
    known = special | {word: MASK + 1 + index for index, word in enumerate(spelled)}
    begin = {"[DEC]": sizes.blip_words - 2, "[ENC]": sizes.blip_words - 1}
    by_id = {number: word for part in (words, known, begin) for word, number in part.items()}
    text = tower(sizes.blip, range_) | {
        "vocab_size": sizes.blip_words,
        "encoder_hidden_size": sizes.blip.width,
        "bos_token_id": sizes.blip_words - 2,
        "sep_token_id": END,
        "pad_token_id": PAD,
        "eos_token_id": 2,
    }
    config = BlipConfig(
        text_config=text,
        vision_config=vision_tower(sizes.blip, range_) | {"projection_dim": sizes.blip.width},
        initializer_range=range_,
        image_text_hidden_size=min(256, sizes.blip.width),
    )
    vocabulary = {by_id[number]: number for number in range(sizes.blip_words)}
    tokenizer = BertTokenizerFast(vocab=vocabulary, additional_special_tokens=[*begin])
    square = {"height": sizes.blip.picture, "width": sizes.blip.picture}
    for folder, kind in ((captioner, BlipForConditionalGeneration), (matcher, BlipForImageTextRetrieval)):
        kind(config).save_pretrained(folder)
        BlipProcessor(BlipImageProcessor(size=square), tokenizer).save_pretrained(folder)


def save_clip(folder: Path, sizes: Sizes, range_: float) -> None:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    symbols = list(bytes_to_unicode().values())
    spelled = [*symbols, *(f"{symbol}</w>" for symbol in symbols)]
    spelled += [f"unused{number}" for number in range(sizes.clip_words - len(spelled) - 2)]
    words = {word: index for index, word in enumerate([*spelled, "<|startoftext|>", "<|endoftext|>"])}
    start, end = sizes.clip_words - 2, sizes.clip_words - 1
    text = tower(sizes.clip_text, range_) | {
        "vocab_size": sizes.clip_words,
        "max_position_embeddings": 77,
        "bos_token_id": start,
        "eos_token_id": end,
        "pad_token_id": end,
    }
    model = CLIPModel(
        CLIPConfig(
            text_config=text, vision_config=vision_tower(sizes.clip, range_), projection_dim=min(512, sizes.clip.width)
        )
    )
    model.save_pretrained(folder)
    edge = sizes.clip.picture
    pictures = CLIPImageProcessor(size={"shortest_edge": edge}, crop_size={"height": edge, "width": edge})
    CLIPProcessor(pictures, CLIPTokenizer(vocab=words, merges=[], model_max_length=77)).save_pretrained(folder)


def save_vit(folder: Path, sizes: Sizes, range_: float) -> None:
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    ViTModel(ViTConfig(**vision_tower(sizes.vit, range_)), add_pooling_layer=False).save_pretrained(folder)
    half = [0.5, 0.5, 0.5]
    square = {"height": sizes.vit.picture, "width": sizes.vit.picture}
    ViTImageProcessor(size=square, image_mean=half, image_std=half).save_pretrained(folder)


def save_yolo(path: Path, sizes: Sizes) -> None:
    import_ultralytics()
    import torch
    from ultralytics.nn.tasks import DetectionModel

    model = DetectionModel(sizes.yolo, verbose=False).eval()
    model.args = {"task": "detect", "imgsz": sizes.yolo_picture}
    torch.save({"model": model, "train_args": model.args}, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    print(*build(parser.parse_args().folder).values(), sep="\n")
