"""What every ONNX model here has in common: a session for one text at a time, a pinned package."""

import hashlib
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions
    from tokenizers import Tokenizer

TokenIds = npt.NDArray[np.int64]

# Read when onnxruntime is imported, and for good. Without it, it writes an id of this machine to
# the home directory and sends Microsoft what models are run, and how long they take.
os.putenv("ORT_DISABLE_TELEMETRY", "1")


def session_options() -> "SessionOptions":
    """For several texts at once, each in a thread of its own."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # two texts at once use two cores better than one text does
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # the arena keeps the longest text's memory for ever
    return options


def open_session(model: bytes | str, options: "SessionOptions | None" = None) -> "InferenceSession":
    """Of a model's bytes or its file."""
    import onnxruntime

    return onnxruntime.InferenceSession(
        model, sess_options=options or session_options(), providers=["CPUExecutionProvider"]
    )


def token_ids(tokenizer: "Tokenizer", text: str) -> TokenIds:
    """`(1, tokens) int64`"""
    text = text.encode("utf-8", "replace").decode()  # half of a pair of surrogates is no text
    return np.array([tokenizer.encode(text).ids], dtype=np.int64)


def package_file(package: str, name: str, sha256: str) -> Path:
    """A file of an installed package, found without running the package's code.

    Raises RuntimeError where it is missing or not the pinned one.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"The package {package} is missing; install the requirements again.")
    path = Path(next(iter(spec.submodule_search_locations))) / name
    if file_sha256(path) != sha256:
        raise RuntimeError(
            f"The weights in the package {package} are not the pinned ones; "
            "install the requirements again."
        )
    return path


def file_sha256(path: Path) -> str:
    """Raises RuntimeError where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RuntimeError(f"{path.name} cannot be read: {error.strerror}.") from None
