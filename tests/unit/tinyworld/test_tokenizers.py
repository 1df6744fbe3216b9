"""CLIP's and BLIP's tokenizers, and where they may go wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinyworld.captions import Description, Named
from tinyworld.tokenizers import (
    CLIP_POSITIONS,
    SPECIAL,
    WORDS,
    blip_tokenizer,
    byte_symbols,
    clip_tokenizer,
    clip_vocabulary,
)

CHECKPOINTS = Path(__file__).parents[3] / "tinyworld" / "checkpoints"
LONGEST = Description("cartoon", tuple(Named("orange", s) for s in ("circle", "star", "cross", "ring")), "left of")


@pytest.fixture(scope="module")
def clip() -> Any:
    from processors.models.clip import Clip

    return Clip.load(CHECKPOINTS / "clip")


def test_clips_vocabulary_has_every_byte_with_and_without_the_end_of_word_mark() -> None:
    vocabulary, _ = clip_vocabulary()
    assert len(set(byte_symbols())) == 256
    assert all(symbol in vocabulary and f"{symbol}</w>" in vocabulary for symbol in byte_symbols())
    end = vocabulary["<|endoftext|>"]
    assert end == max(vocabulary.values()) == len(vocabulary) - 1
    assert end != 2, "2 selects transformers' legacy branch"


def test_every_known_word_is_one_token_and_unknown_ones_never_end_the_text() -> None:
    tokenizer = clip_tokenizer()
    end = tokenizer.eos_token_id
    assert tokenizer.model_max_length == CLIP_POSITIONS
    for word in WORDS:
        assert len(tokenizer(word).input_ids) == 3, word
    for text in ("a dog", "ein Häuschen", "红色", "🦊 = red?", "a\tred\ncircle"):
        ids = tokenizer(text).input_ids
        assert ids.count(end) == 1, text
        assert ids[-1] == end


def test_a_texts_vector_depends_on_its_last_word_even_after_an_unknown_one(clip: Any) -> None:
    for start in ("a", "a photo of a", "a dog and a", "日本 and a"):
        red, blue = clip.embed_texts([f"{start} red circle", f"{start} red square"])
        assert float(red @ blue) < 0.99, start


def test_positions_and_ids_of_the_shipped_clip_match_its_tokenizer(clip: Any) -> None:
    text = json.loads((CHECKPOINTS / "clip" / "config.json").read_text())["text_config"]
    tokenizer = clip_tokenizer()
    assert text["max_position_embeddings"] == CLIP_POSITIONS
    assert (text["eos_token_id"], text["bos_token_id"]) == (tokenizer.eos_token_id, tokenizer.bos_token_id)
    assert text["vocab_size"] == len(tokenizer)


@pytest.mark.parametrize("name", ["blip", "blip_itm"])
def test_blips_ids_match_its_tokenizer(name: str) -> None:
    from transformers import AutoTokenizer

    text = json.loads((CHECKPOINTS / name / "config.json").read_text())["text_config"]
    tokenizer = AutoTokenizer.from_pretrained(CHECKPOINTS / name, local_files_only=True)
    assert text["bos_token_id"] == tokenizer.convert_tokens_to_ids(SPECIAL["dec"])
    assert text["sep_token_id"] == text["eos_token_id"] == tokenizer.sep_token_id
    assert text["pad_token_id"] == tokenizer.pad_token_id
    assert text["vocab_size"] == len(tokenizer)


def test_captions_survive_blips_tokenizer() -> None:
    tokenizer = blip_tokenizer()
    ids = tokenizer(str(LONGEST)).input_ids
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == str(LONGEST)
    assert len(ids) <= 48
