"""The aiokafka releases that this folder was checked with.

All code that touches a private member of aiokafka, or runs aiokafka's code with other classes, lies in this folder:
aiokafka promises nothing about it. `tests/unit/streams/kafka/test_aiokafka_internals.py` names what
a new release changed. To allow one: install it, run that test and the suites in `tests/kafka`, then raise the ceiling
here and in `pyproject.toml`.
"""

from __future__ import annotations

import aiokafka

from streams.errors import PlanError

CHECKED_RELEASES = ("0.14",)


def check_release(installed: str = aiokafka.__version__) -> None:
    """Raises PlanError for a release that was not checked: a commit or a fetch could go wrong without an error."""
    if ".".join(installed.split(".")[:2]) not in CHECKED_RELEASES:
        reason = (
            f"aiokafka {installed} is installed, but Sightline uses private parts of aiokafka that were checked"
            f" with {', '.join(CHECKED_RELEASES)} only: install aiokafka=={CHECKED_RELEASES[-1]}.*"
        )
        raise PlanError([reason])
