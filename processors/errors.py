"""What went wrong in a stage, by what the runtime does about it.

    StageError
    ├── Transient      retry with backoff; no frame dies (a service that the stage needs is unavailable)
    ├── OutOfMemory    halve the batch and go on (adapters raise it from their library's own error)
    └── WrongWeights   stop at start: the weights on disk are not the ones named

A frame that can never be processed is no exception: the stage returns `Invalid` for it. Any other exception is
unknown: the runtime bisects the batch until the poison frame stands alone.
"""


class StageError(Exception):
    """Base of the errors that a stage raises on purpose."""


class Transient(StageError):  # noqa: N818 - named for the action
    """A retry may succeed; the frame is not the cause."""


class OutOfMemory(StageError):  # noqa: N818 - named for what happened
    """The batch does not fit in memory; half of it may."""


class WrongWeights(StageError):  # noqa: N818 - named for what happened
    """Weights are missing, damaged or not the ones named; the message says what to do."""
