"""The tokenizers of the tiny models, in transformers' own formats.

BLIP has a BERT vocabulary of whole words. CLIP has byte pairs: all 256 byte symbols with and without the end-of-word
mark. CLIP's unknown token is its end token, and the text tower reads the vector at the first end token, so one unknown
symbol would hide everything after it.
"""

from __future__ import annotations

import itertools
from collections import Counter

from transformers import BertTokenizerFast, CLIPTokenizer

from tinyworld.captions import RELATIONS
from tinyworld.scenes import COLORS, SHAPES, STYLES

WORDS: tuple[str, ...] = (
    *("a", "an", "the", "of", "and", "is", "nothing", "right"),
    *(word for relation in RELATIONS for word in relation.split() if word != "of"),
    *STYLES,
    *COLORS,
    *SHAPES,
)
"""Every word that the tiny models were trained on."""
MARKS = (",", ".")
SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]", "dec": "[DEC]"}
CLIP_POSITIONS = 77
BLIP_POSITIONS = 64
END = "</w>"


def blip_vocabulary() -> dict[str, int]:
    """Token to id: special tokens first, padding is 0."""
    return {token: index for index, token in enumerate([*SPECIAL.values(), *MARKS, *WORDS])}


def blip_tokenizer() -> BertTokenizerFast:
    """BLIP's tokenizer; each unknown word becomes one [UNK]."""
    return BertTokenizerFast(
        vocab=blip_vocabulary(), do_lower_case=True, model_max_length=BLIP_POSITIONS, bos_token=SPECIAL["dec"]
    )


def byte_symbols() -> list[str]:
    """The 256 printable characters that represent bytes (Radford et al. 2019), in the order of the bytes."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols, spare = {}, 0
    for byte in range(256):
        if byte in kept:
            symbols[byte] = chr(byte)
        else:
            symbols[byte] = chr(256 + spare)
            spare += 1
    return [symbols[byte] for byte in range(256)]


def merges_for(words: tuple[str, ...]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent pair first, until each word is one token (Sennrich et al. 2016)."""
    pieces = {word: [*word[:-1], word[-1] + END] for word in words}
    merges: list[tuple[str, str]] = []
    while True:
        pairs = Counter(pair for parts in pieces.values() for pair in itertools.pairwise(parts))
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = {word: _merged(parts, best) for word, parts in pieces.items()}


def clip_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Token to id and merges; the end token has the highest id."""
    merges = merges_for(WORDS)
    symbols = byte_symbols()
    tokens = [*symbols, *(symbol + END for symbol in symbols), *dict.fromkeys(a + b for a, b in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}, merges


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer."""
    vocabulary, merges = clip_vocabulary()
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CLIP_POSITIONS)


def _merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for part in parts:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return out
