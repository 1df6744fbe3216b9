"""Words of captions that filters can use: nouns, their attributes, and pairs such as "red circle".

There is no part-of-speech tagger. A caption is a few noun phrases between function words, so it is split at those.
The last word of a phrase is its noun, the words before are attributes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from schemas.events import Keywords
from schemas.words import singular

_FUNCTION_WORDS = frozenset(
    {
        "a", "an", "the", "of", "and", "or", "but", "with", "without", "in", "on", "at", "by", "to", "from",
        "for", "near", "next", "beside", "behind", "under", "over", "above", "below", "left", "right",
        "between", "around", "through", "into", "onto", "off", "up", "down", "front", "side", "top", "bottom",
        "middle", "there", "this", "that", "these", "those", "it", "its", "is", "are", "was", "were", "be",
        "being", "been", "has", "have", "having", "while", "as", "his", "her", "their", "my", "your", "our",
        "some", "any", "many", "several", "few", "each", "other", "another", "one", "two", "three", "four",
        "five", "six", "very", "who", "which", "what", "where", "no", "not",
    }
)  # fmt: skip
_VAGUE_NOUNS = frozenset({"thing", "bunch", "group", "couple", "pair", "lot", "view", "kind", "type"})
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|[.,;:!?()]")
_NOUNS_IN_ING = frozenset({"building", "ceiling", "ring", "string", "king", "wing", "painting", "clothing", "thing"})
"""Words in -ing that are nouns; all others end a phrase, like verbs ("a man riding a horse")."""


def keywords(texts: Iterable[str]) -> Keywords:
    """`simple`: distinct words in order of appearance; `compound`: pairs of an attribute and its noun."""
    simple: dict[str, None] = {}
    compound: dict[str, None] = {}
    for text in texts:
        for *attributes, noun in _phrases(text):
            simple.update(dict.fromkeys((*attributes, noun)))
            compound.update(dict.fromkeys(f"{attribute} {noun}" for attribute in attributes))
    return Keywords(simple=tuple(simple), compound=tuple(compound))


def _phrases(text: str) -> Iterator[list[str]]:
    """Runs of words between function words and verbs in -ing, singular and in lower case."""
    run: list[str] = []
    for token in [*_TOKEN.findall(text.casefold()), "."]:
        word = singular(token)
        if word in _FUNCTION_WORDS or token in _FUNCTION_WORDS or not token[0].isalpha() or _is_verb(token):
            if run:
                yield run
            run = []
        elif word not in _VAGUE_NOUNS:
            run.append(word)


def _is_verb(word: str) -> bool:
    return len(word) > 4 and word.endswith("ing") and word not in _NOUNS_IN_ING
