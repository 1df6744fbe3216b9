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
from processors.models import threads

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Read when transformers is imported, which only the functions below do.

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Exact = Literal["fp32", "bf16", "fp16"]
WAY_OUT = "fetch them with `sightline models pull`, or give the folder of your own as `weights`"
PARTS_OF_A_MODEL = frozenset({".json", ".safetensors", ".bin", ".txt"})
NO_PART_OF_A_MODEL = frozenset({"sightline.json", "calibration.json", "reference_set.safetensors", "checksums.json"})
"""What lies beside a model and says something about it; its revision stays when these change."""
ONE_AT_A_TIME = threading.Lock()
"""transformers patches its own and torch's initialisation for the whole process while it loads: a model that another
thread loads meanwhile comes out with untied or missing tensors."""


def exact(precision: Precision, device: str) -> Exact:
    """`auto` is fp32 on a CPU and bf16 on CUDA: by rule and never by measurement, since precision is part of the
    model set, and two workers of one set must agree."""
    if precision != "auto":
        return precision
    return "bf16" if device.startswith("cuda") else "fp32"


def existing(folder: str | Path, names: str) -> Path:
    """The folder of `names` ("BLIP"). Raises `WrongWeights` with the way out when it is not there."""
    if not str(folder):
        raise WrongWeights(f"no weights given for {names}: {WAY_OUT}")
    path = Path(folder).expanduser()
    if not (path / "config.json").is_file():
        raise WrongWeights(f"{path}: no {names} there (no config.json): {WAY_OUT}")
    return path


def configuration(folder: Path) -> dict[str, Any]:
    """What `config.json` says. Raises `WrongWeights` when it is no JSON object."""
    try:
        return dict(json.loads((folder / "config.json").read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise WrongWeights(f"{folder / 'config.json'}: {error}") from error


def load_model(folder: Path, kind: str, *, device: str, precision: Exact, **options: Any) -> Any:
    """The model of transformers' class `kind` (`AutoModel`, `BlipForConditionalGeneration` …), in evaluation mode.

    Raises `WrongWeights` when files are missing or damaged, when the folder is another architecture's, or when a
    tensor of the model is not in the file, which the library would fill with random numbers after a mere warning.
    """
    threads.apply()
    import torch
    import transformers

    named = configuration(folder).get("architectures") or [kind]
    if not kind.startswith("Auto") and kind not in named:
        raise WrongWeights(f"{folder}: config.json names {', '.join(named)}; {kind} is wanted")
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    safe = any(folder.glob("model*.safetensors"))
    with ONE_AT_A_TIME, _quiet(), named_as_wrong(folder):
        model, found = getattr(transformers, kind).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=safe,
            weights_only=True,
            dtype=dtype,
            output_loading_info=True,
            **options,
        )
    if absent := sorted({*found["missing_keys"], *(str(entry) for entry in found["mismatched_keys"])}):
        raise WrongWeights(f"{folder}: the file lacks {len(absent)} tensors of {kind}, first {absent[0]}")
    return model.eval().requires_grad_(requires_grad=False).to(device)


def load_tokenizer(folder: Path) -> Any:
    import transformers

    with named_as_wrong(folder):
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)


@contextmanager
def named_as_wrong(folder: Path) -> Iterator[None]:
    """Raise `WrongWeights` for whatever transformers, safetensors and tokenizers raise about files in `folder`."""
    from pickle import UnpicklingError

    from safetensors import SafetensorError

    wrong = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError, UnpicklingError)
    try:
        yield
    except wrong as error:
        reason = str(error).strip().partition("\n")[0]
        raise WrongWeights(f"{folder}: {reason or type(error).__name__}; {WAY_OUT}") from error


def revision(folder: Path, fit: str) -> str:
    """Twelve hexadecimal digits of everything that decides the output: weights, configuration, words and fit."""
    digest = hashlib.sha256(fit.encode())
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in NO_PART_OF_A_MODEL and path.suffix in PARTS_OF_A_MODEL:
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without progress bars and warnings on standard error: what they would say is checked and raised."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()
