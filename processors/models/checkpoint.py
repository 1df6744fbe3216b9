"""Loading through transformers' own classes: from a folder, offline, nothing executed, nothing left at random.

Safetensors where they exist. Some published checkpoints (CLIP B/32, BLIP base) have only a `pytorch_model.bin`: that is
read by torch's restricted unpickler (`weights_only`), which builds tensors and runs nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from processors.errors import WrongWeights
from processors.models import torch_threads
from processors.models.domain import DOMAIN_FILE
from processors.models.model_card import CARD_FILE

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# These are read when transformers is imported, which only the functions below do.

Precision = Literal["auto", "fp32", "bf16", "fp16"]
ResolvedPrecision = Literal["fp32", "bf16", "fp16"]
WAY_OUT = "fetch them with `sightline models pull`, or give the folder of your own as `weights`"
MODEL_SUFFIXES = frozenset({".json", ".safetensors", ".bin", ".txt"})
NOT_OF_THE_MODEL = frozenset(
    {CARD_FILE, "calibration.json", "reference_set.safetensors", DOMAIN_FILE, "checksums.json"}
)
"""Files beside a model that describe it; its revision stays when these change."""
LOAD_LOCK = threading.Lock()
"""transformers patches its own and torch's initialization for the whole process while it loads: a model that another
thread loads meanwhile comes out with untied or missing tensors."""


def resolve_precision(precision: Precision, device: str) -> ResolvedPrecision:
    """`auto` is fp32 on a CPU and bf16 on CUDA.

    That is a rule and never a measurement, since precision is part of the model set and two workers of one set must
    agree.
    """
    if precision != "auto":
        return precision
    return "bf16" if device.startswith("cuda") else "fp32"


def checkpoint_folder(folder: str | Path, title: str) -> Path:
    """The existing folder of the model that users call `title` ("BLIP"). Raises `WrongWeights` with the remedy."""
    if not str(folder):
        raise WrongWeights(f"no weights given for {title}: {WAY_OUT}")
    path = Path(folder).expanduser()
    if not (path / "config.json").is_file():
        raise WrongWeights(f"{path}: no {title} there (no config.json): {WAY_OUT}")
    return path


def read_configuration(folder: Path) -> dict[str, Any]:
    """The content of `config.json`. Raises `WrongWeights` when it is no JSON object."""
    try:
        return dict(json.loads((folder / "config.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise WrongWeights(f"{folder / 'config.json'}: {error}") from error


def load_model(folder: Path, kind: str, *, device: str, precision: ResolvedPrecision, **options: Any) -> Any:
    """The model of transformers' class `kind` (`AutoModel`, `BlipForConditionalGeneration` …), in evaluation mode.

    Raises `WrongWeights` when files are missing or damaged, when the folder is another architecture's, or when a
    tensor of the model is not in the file, which the library would fill with random numbers after a mere warning.
    """
    torch_threads.apply_thread_count()
    import torch
    import transformers

    architectures = read_configuration(folder).get("architectures") or [kind]
    if not any(_holds(architecture, kind) for architecture in architectures):
        raise WrongWeights(f"{folder}: config.json names {', '.join(architectures)}; {kind} is wanted")
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    safe = any(folder.glob("model*.safetensors"))
    with LOAD_LOCK, _quiet(), translate_load_errors(folder):
        model, report = getattr(transformers, kind).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=safe,
            weights_only=True,
            dtype=dtype,
            output_loading_info=True,
            **options,
        )
    if absent := sorted({*report["missing_keys"], *(str(entry) for entry in report["mismatched_keys"])}):
        count = "1 tensor" if len(absent) == 1 else f"{len(absent)} tensors"
        raise WrongWeights(f"{folder}: the file lacks {count} of {kind}, first {absent[0]}")
    return model.eval().requires_grad_(requires_grad=False).to(device)


def _holds(architecture: str, kind: str) -> bool:
    """Whether a checkpoint of `architecture` holds the model `kind`: that itself, or the bare model below a head.

    Models are published under the head that they were trained with: google's ViT as `ViTForImageClassification`.
    """
    bare = kind.removesuffix("Model")
    return kind.startswith("Auto") or architecture == kind or (bare != kind and architecture.startswith(f"{bare}For"))


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in `folder`, of transformers' own class. Raises `WrongWeights`."""
    import transformers

    with translate_load_errors(folder):
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)


@contextmanager
def translate_load_errors(folder: Path) -> Iterator[None]:
    """Raise `WrongWeights` for what transformers, safetensors and tokenizers raise about files in `folder`."""
    from pickle import UnpicklingError

    from safetensors import SafetensorError

    wrong = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError, UnpicklingError)
    try:
        yield
    except wrong as error:
        reason = str(error).strip().partition("\n")[0]
        raise WrongWeights(f"{folder}: {reason or type(error).__name__}; {WAY_OUT}") from error


def revision(folder: Path, fit: str) -> str:
    """Twelve hexadecimal digits of everything that decides the output: weights, configuration, vocabulary and fit."""
    digest = hashlib.sha256(fit.encode())
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in NOT_OF_THE_MODEL and path.suffix in MODEL_SUFFIXES:
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars and warnings on standard error: what they would report is checked and raised."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()
