"""The states of frames that left out stages on purpose, as the stages of the plan declare them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def skip_states(reasons: Iterable[str], declared: Mapping[str, str]) -> list[str]:
    """States of a frame whose stages were skipped for `reasons`, each once, in the order of `declared`.

    `declared` maps a prefix of reasons to a state, as `StageTraits.skip_states` does.
    """
    given = tuple(reasons)
    states = [state for prefix, state in declared.items() if any(reason.startswith(prefix) for reason in given)]
    return list(dict.fromkeys(states))
