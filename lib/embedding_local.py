"""Local embeddings on the CPU with ONNX models; nothing is downloaded.

The packaged model is `lib.embedding_e5`. `find_model` takes a folder in the layout of the model
hubs instead::

    <folder>/model.onnx                     or onnx/model.onnx, or the only *.onnx
    <folder>/tokenizer.json
    <folder>/1_Pooling/config.json          optional: pooling, cls or mean; default mean
    <folder>/config_sentence_transformers.json   optional: prompts for questions and texts
    <folder>/sentence_bert_config.json      optional: maximum number of tokens

If the folder's name contains `e5` and it has no prompts, that family's "query: " and "passage: "
are used.
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

from lib.embedding import Similarity, Vectors, l2_normalise
from lib.runtime import SingleFlight, lower_thread_priority, trim_heap

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, SessionOptions
    from tokenizers import Tokenizer


class _Encoder(Protocol):
    """A loaded network with its tokenizer. Thread-safe."""

    @property
    def dimension(self) -> int: ...

    def document(self, text: str) -> Vectors:
        """Embed a text: `(dimension,) float32`, L2-normalised."""

    def question(self, text: str) -> Vectors:
        """Embed a question, in the same form."""


class LocalEmbedder:
    """Runs the network on one text at a time, in two threads.

    Batches need padding, which makes them slower on a CPU and takes three times the memory. On two
    cores, texts of 163 tokens per second: 46 one by one, 35 in batches of 4, 18 in batches of 16.
    """

    concurrency = 1

    def __init__(
        self, model_id: str, similarity: Similarity, load_encoder: Callable[[], _Encoder]
    ) -> None:
        self.model_id = model_id
        self.similarity = similarity
        self._load_encoder = load_encoder
        self._encoder = SingleFlight(self._load)
        # Questions must not wait for an ingestion's texts.
        self._documents = ThreadPoolExecutor(2, "embed", lower_thread_priority)
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

    def unload(self) -> None:
        """Free the model's memory; the next call loads it again."""
        self._encoder = SingleFlight(self._load)

    async def close(self) -> None:
        for pool in (self._documents, self._questions):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _load(self) -> _Encoder:
        loop = asyncio.get_running_loop()
        # Not as the result of the call: the executor's future is part of a reference cycle, and the
        # server excludes loaded models from garbage collection.
        loaded: list[_Encoder] = []
        await loop.run_in_executor(self._questions, lambda: loaded.append(self._load_encoder()))
        # Loading leaves much freed memory with the allocator.
        await loop.run_in_executor(self._questions, trim_heap)
        return loaded.pop()


# onnxruntime reads this on import. By default it writes a machine id to the home directory and
# sends model names and durations to Microsoft.
os.putenv("ORT_DISABLE_TELEMETRY", "1")


def session_options() -> "SessionOptions":
    """Options for texts that run concurrently, each in one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # two texts use two cores better than one text
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # the arena never frees the longest text's memory
    return options


def open_session(model: bytes | str, options: "SessionOptions | None" = None) -> "InferenceSession":
    """Open a model from its bytes or its path."""
    import onnxruntime

    return onnxruntime.InferenceSession(
        model, sess_options=options or session_options(), providers=["CPUExecutionProvider"]
    )


def package_file(package: str, name: str, sha256: str) -> Path:
    """Find a file of an installed package without importing it, and check its hash.

    Raises RuntimeError if the file is missing or has another hash.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"The package {package} is missing. Install the requirements again.")
    path = Path(next(iter(spec.submodule_search_locations))) / name
    if _file_sha256(path) != sha256:
        raise RuntimeError(
            f"The weights in the package {package} are not the pinned ones. "
            "Install the requirements again."
        )
    return path


def _file_sha256(path: Path) -> str:
    """Raises RuntimeError if the file cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RuntimeError(f"{path.name} cannot be read: {error.strerror}.") from None


_DEFAULT_MAX_TOKENS: Final = 512
_SIMILARITY: Final = Similarity(unrelated=0.1, answering=0.6, measured=False)
_E5_SIMILARITY: Final = Similarity(unrelated=0.75, answering=0.87, measured=False)


@dataclass(frozen=True, slots=True)
class FolderModel:
    """A model in a folder, not loaded yet."""

    weights: Path
    tokenizer: Path
    first_token: bool
    """Pooling: the first token's vector (cls), else the mean."""
    question_prompt: str
    document_prompt: str
    max_tokens: int

    @property
    def model_id(self) -> str:
        """The folder's name and the weights' hash."""
        return f"onnx/{self.tokenizer.parent.name}-{_file_sha256(self.weights)[:12]}"

    @property
    def similarity(self) -> Similarity:
        return _E5_SIMILARITY if self.question_prompt == "query: " else _SIMILARITY

    def load(self) -> "_FolderEncoder":
        """Load the embedding model. Raises RuntimeError if a file is invalid."""
        return _FolderEncoder(self, self.open())

    def open(self) -> "FolderNetwork":
        """Load network and tokenizer. Raises RuntimeError if a file is invalid."""
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(self.tokenizer))
            session = open_session(str(self.weights))
        except Exception as error:  # neither library raises a more specific exception
            raise RuntimeError(f"The model cannot be loaded: {error}") from error
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.max_tokens)
        return FolderNetwork(session, tokenizer)


class FolderNetwork:
    """A network and its tokenizer. Thread-safe."""

    def __init__(self, session: "InferenceSession", tokenizer: "Tokenizer") -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._inputs = {given.name for given in session.get_inputs()}

    def run(self, text: str, second: str | None = None) -> Vectors:
        """The first output for a text or a pair, without the axis of the batch."""
        # The tokenizer refuses lone surrogates.
        given = [each.encode("utf-8", "replace").decode() for each in (text, second or "")]
        encoding = self._tokenizer.encode(given[0], None if second is None else given[1])
        ids = np.array([encoding.ids], dtype=np.int64)
        known = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.array([encoding.type_ids], dtype=np.int64),
            "position_ids": np.arange(ids.shape[1], dtype=np.int64)[None],
        }
        inputs = {name: value for name, value in known.items() if name in self._inputs}
        first: Vectors = np.asarray(self._session.run(None, inputs)[0], dtype=np.float32)[0]
        return first


class _FolderEncoder:
    def __init__(self, model: FolderModel, network: FolderNetwork) -> None:
        self._model = model
        self._network = network
        self.dimension = len(self.document("a"))

    def document(self, text: str) -> Vectors:
        return self._encode(self._model.document_prompt + text)

    def question(self, text: str) -> Vectors:
        return self._encode(self._model.question_prompt + text)

    def _encode(self, text: str) -> Vectors:
        first = self._network.run(text)
        if first.ndim == 1:  # the model pools
            return l2_normalise(first)
        return l2_normalise(first[0] if self._model.first_token else first.mean(axis=0))


def find_model(folder: Path) -> FolderModel:
    """Find the model in `folder`. Raises RuntimeError if a file is missing."""
    weights = next(
        (path for name in ("model.onnx", "onnx/model.onnx") if (path := folder / name).is_file()),
        None,
    )
    if weights is None:
        others = sorted(folder.glob("*.onnx")) + sorted(folder.glob("onnx/*.onnx"))
        if len(others) != 1:
            raise RuntimeError(f"No model.onnx in {folder}.")
        weights = others[0]
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise RuntimeError(f"No tokenizer.json in {folder}.")
    prompts = _json(folder / "config_sentence_transformers.json").get("prompts") or {}
    e5 = "e5" in folder.resolve().name.lower() and not prompts
    limit = _json(folder / "sentence_bert_config.json").get("max_seq_length")
    return FolderModel(
        weights=weights,
        tokenizer=tokenizer,
        first_token=bool(_json(folder / "1_Pooling" / "config.json").get("pooling_mode_cls_token")),
        question_prompt="query: " if e5 else str(prompts.get("query") or ""),
        document_prompt="passage: "
        if e5
        else str(prompts.get("document") or prompts.get("passage") or ""),
        max_tokens=limit if isinstance(limit, int) and limit > 0 else _DEFAULT_MAX_TOKENS,
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
