"""Words of captions that filters can hold on to: things, their colours, and pairs such as "red circle".

No tagger: a caption is a few noun phrases between small words, so it is cut at those. What is left in a run is a
thing (its last word) and what is said of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from schemas.events import Keywords
from schemas.words import singular

_SMALL = frozenset(
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
_NO_THINGS = frozenset({"thing", "bunch", "group", "couple", "pair", "lot", "view", "kind", "type"})
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|[.,;:!?()]")
_ALSO_THINGS = frozenset({"building", "ceiling", "ring", "string", "king", "wing", "painting", "clothing", "thing"})
"""Words in -ing that are no verbs; all others end a phrase ("a man riding a horse")."""


def keywords(texts: Iterable[str]) -> Keywords:
    """`simple` words in order of appearance, and `compound` pairs of what is said of a thing and the thing."""
    simple: dict[str, None] = {}
    compound: dict[str, None] = {}
    for text in texts:
        for *said, thing in _phrases(text):
            simple.update(dict.fromkeys((*said, thing)))
            compound.update(dict.fromkeys(f"{word} {thing}" for word in said))
    return Keywords(simple=tuple(simple), compound=tuple(compound))


def _phrases(text: str) -> Iterator[list[str]]:
    """Runs of words that are neither small nor a verb in -ing, singular and in lower case."""
    run: list[str] = []
    for token in [*_TOKEN.findall(text.casefold()), "."]:
        word = singular(token)
        if word in _SMALL or token in _SMALL or not token[0].isalpha() or _is_verb(token):
            if run:
                yield run
            run = []
        elif word not in _NO_THINGS:
            run.append(word)


def _is_verb(word: str) -> bool:
    return len(word) > 4 and word.endswith("ing") and word not in _ALSO_THINGS
