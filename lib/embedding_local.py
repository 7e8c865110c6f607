"""Vectors without a key: a model on this machine's processors, and nothing fetched.

Which model is a setting: `lib.embedding_e5`, with weights from a pinned package, or a folder with
any ONNX model (`find_model`).

What every ONNX model here has in common: a session for one text at a time, a pinned package.

Any embedding model that stands in a folder, in the layout of the model hubs.

::

    <folder>/model.onnx                     or onnx/model.onnx, or the only *.onnx
    <folder>/tokenizer.json
    <folder>/1_Pooling/config.json          optional: cls or mean; mean without it
    <folder>/config_sentence_transformers.json   optional: what stands before questions and texts
    <folder>/sentence_bert_config.json      optional: how many tokens it reads

A model whose name has `e5` in it gets that family's "query: " and "passage: ", which their folders
do not tell.
"""

import asyncio
import hashlib
import importlib.util
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from lib.embedding import Similarity, Vectors, l2_normalise
from lib.runtime import SingleFlight, trim_heap

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions
    from tokenizers import Tokenizer


class Encoder(Protocol):
    """A loaded network with its tokenizer. Its methods may be called from several threads."""

    @property
    def dimension(self) -> int: ...

    def document(self, text: str) -> Vectors:
        """`(dimension,) float32`, L2-normalised."""

    def question(self, text: str) -> Vectors:
        """The same for a text to search with."""


class LocalEmbedder:
    """Embeds one text a call of the network, two calls at once.

    Padding makes batches slower than single texts on a processor (measured on two cores, texts
    of 163 tokens: 46 a second one by one in two threads, 35 in fours, 18 in sixteens) and needs
    three times the memory.
    """

    concurrency = 1

    def __init__(
        self, model_id: str, similarity: Similarity, load_encoder: Callable[[], Encoder]
    ) -> None:
        self.model_id = model_id
        self.similarity = similarity
        self._load_encoder = load_encoder
        self._encoder = SingleFlight(self._load)
        self._documents = ThreadPoolExecutor(2, thread_name_prefix="embed")
        # A reader's question does not stand in line behind an ingestion's texts.
        self._questions = ThreadPoolExecutor(1, thread_name_prefix="embed-query")

    async def load(self) -> None:
        await self._encoder.get()

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        encoder, loop = await self._encoder.get(), asyncio.get_running_loop()
        rows = await asyncio.gather(
            *(loop.run_in_executor(self._documents, encoder.document, text) for text in texts)
        )
        return np.stack(rows) if rows else np.zeros((0, encoder.dimension), np.float32)

    async def embed_query(self, text: str) -> Vectors:
        encoder, loop = await self._encoder.get(), asyncio.get_running_loop()
        return await loop.run_in_executor(self._questions, encoder.question, text)

    def billable_tokens(self, text: str) -> int:
        return 0

    async def close(self) -> None:
        for pool in (self._documents, self._questions):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _load(self) -> Encoder:
        loop = asyncio.get_running_loop()
        encoder = await loop.run_in_executor(self._questions, self._load_encoder)
        # What loading needed besides lies in memory that nobody will ask for again.
        await loop.run_in_executor(self._questions, trim_heap)
        return encoder


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


DEFAULT_MAX_TOKENS: Final = 512
SIMILARITY: Final = Similarity(unrelated=0.1, answering=0.6, measured=False)
E5_SIMILARITY: Final = Similarity(unrelated=0.75, answering=0.87, measured=False)


@dataclass(frozen=True, slots=True)
class FolderModel:
    """A folder that holds a model, looked at but not loaded."""

    weights: Path
    tokenizer: Path
    first_token: bool
    """Whether the first token's vector stands for the text, instead of the mean of all."""
    before_question: str
    before_document: str
    max_tokens: int

    @property
    def model_id(self) -> str:
        """Names the folder and, by their hash, the weights."""
        return f"onnx/{self.tokenizer.parent.name}-{file_sha256(self.weights)[:12]}"

    @property
    def similarity(self) -> Similarity:
        return E5_SIMILARITY if self.before_question == "query: " else SIMILARITY

    def load(self) -> "FolderEncoder":
        """Raises RuntimeError where a file cannot be read as what it should be."""
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(self.tokenizer))
            session = open_session(str(self.weights))
        except Exception as error:  # both libraries raise nothing more specific
            raise RuntimeError(f"The model cannot be loaded: {error}") from error
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.max_tokens)
        return FolderEncoder(self, session, tokenizer)


class FolderEncoder:
    def __init__(
        self, model: FolderModel, session: "InferenceSession", tokenizer: "Tokenizer"
    ) -> None:
        self._model = model
        self._session = session
        self._tokenizer = tokenizer
        self._inputs = {given.name for given in session.get_inputs()}
        self.dimension = len(self.document("a"))

    def document(self, text: str) -> Vectors:
        return self._encode(self._model.before_document + text)

    def question(self, text: str) -> Vectors:
        return self._encode(self._model.before_question + text)

    def _encode(self, text: str) -> Vectors:
        ids = token_ids(self._tokenizer, text)
        known = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
            "position_ids": np.arange(ids.shape[1], dtype=np.int64)[None],
        }
        inputs = {name: value for name, value in known.items() if name in self._inputs}
        first = np.asarray(self._session.run(None, inputs)[0], dtype=np.float32)[0]
        if first.ndim == 1:  # a model that pools by itself
            return l2_normalise(first)
        return l2_normalise(first[0] if self._model.first_token else first.mean(axis=0))


def find_model(folder: Path) -> FolderModel:
    """What `folder` holds. Raises RuntimeError with the file that is missing."""
    weights = next(
        (path for name in ("model.onnx", "onnx/model.onnx") if (path := folder / name).is_file()),
        None,
    )
    if weights is None:
        others = sorted(folder.glob("*.onnx")) + sorted(folder.glob("onnx/*.onnx"))
        if len(others) != 1:
            raise RuntimeError(f"There is no model.onnx in {folder}.")
        weights = others[0]
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise RuntimeError(f"There is no tokenizer.json in {folder}.")
    prompts = _json(folder / "config_sentence_transformers.json").get("prompts") or {}
    e5 = "e5" in folder.resolve().name.lower() and not prompts
    limit = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    return FolderModel(
        weights=weights,
        tokenizer=tokenizer,
        first_token=bool(_json(folder / "1_Pooling" / "config.json").get("pooling_mode_cls_token")),
        before_question="query: " if e5 else str(prompts.get("query") or ""),
        before_document="passage: "
        if e5
        else str(prompts.get("document") or prompts.get("passage") or ""),
        max_tokens=limit if isinstance(limit, int) and limit > 0 else DEFAULT_MAX_TOKENS,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
