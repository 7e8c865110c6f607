"""Any embedding model that stands in a folder, in the layout of the model hubs.

::

    <folder>/model.onnx                     or onnx/model.onnx, or the only *.onnx
    <folder>/tokenizer.json
    <folder>/1_Pooling/config.json          optional: cls or mean; mean without it
    <folder>/config_sentence_transformers.json   optional: what stands before questions and texts
    <folder>/sentence_bert_config.json      optional: how many tokens it reads

A model whose name has `e5` in it gets that family's "query: " and "passage: ", which their folders
do not tell.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lib.embedding import Similarity, Vectors, normalised
from lib.onnx import file_sha256, open_session, token_ids

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

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
            return normalised(first)
        return normalised(first[0] if self._model.first_token else first.mean(axis=0))


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
