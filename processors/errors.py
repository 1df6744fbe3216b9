"""What went wrong in a stage, by what the runtime does about it.

    StageError
    ├── Transient      retry with backoff, kills no frame (a service a stage needs is away)
    ├── OutOfMemory    halve the batch and go on (adapters raise it from their library's own error)
    └── WrongWeights   stop at start: the weights on disk are not the ones named

A frame that can never be processed is no exception: the stage returns `Invalid` for it. Any other exception is
unknown: the runtime bisects the batch until the poison frame stands alone.
"""


class StageError(Exception):
    """Base of the errors a stage raises on purpose."""


class Transient(StageError):  # noqa: N818 - named for the action
    """Try again later; the frame is not to blame."""


class OutOfMemory(StageError):  # noqa: N818 - named for what happened
    """The batch does not fit; try half of it."""


class WrongWeights(StageError):  # noqa: N818 - named for what happened
    """Weights are missing, damaged or not the ones named; the message names the way out."""
