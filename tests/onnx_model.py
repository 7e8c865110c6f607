"""Small ONNX models in the folder layout of the model hubs: an embedder and a cross-encoder.

The graphs are encoded as protobuf here, because the package `onnx` is not a dependency. Field
numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

DIMENSION: Final = 16
MAX_TOKENS: Final = 512
"""Length of the position table."""
WORDS: Final = ("[CLS]", "[SEP]", "[UNK]", "[PAD]", "ask:", "long", "moor", "read:", "tide")

Floats = NDArray[np.float32]
Field = int | str | bytes

_rng: Final = np.random.default_rng(7)
TABLES: Final[dict[str, Floats]] = {
    "input_ids": _rng.standard_normal((len(WORDS), DIMENSION), np.float32),
    "token_type_ids": _rng.standard_normal((2, DIMENSION), np.float32),
    "position_ids": _rng.standard_normal((MAX_TOKENS, DIMENSION), np.float32),
    "attention_mask": np.stack([np.zeros(DIMENSION, np.float32), np.ones(DIMENSION, np.float32)]),
}
"""One table per input of the model."""


def hidden_states(text: str) -> Floats:
    """Compute the model's output `(tokens, DIMENSION) float32` without onnxruntime."""
    tokens = ["[CLS]", *(each if each in WORDS else "[UNK]" for each in text.split()), "[SEP]"]
    words = TABLES["input_ids"][[WORDS.index(each) for each in tokens]]
    rows = words + TABLES["token_type_ids"][0] + TABLES["position_ids"][: len(tokens)]
    mixed: Floats = rows + rows.mean()
    return mixed


def write_model(folder: Path) -> None:
    """Write an embedding model: `model.onnx` and `tokenizer.json`."""
    _write(folder, _embedder())


def write_cross_encoder(folder: Path, *, outputs: int = 1) -> None:
    """Write a model that counts the words of `WORDS` that two texts share, `outputs` times."""
    _write(folder, _cross_encoder(outputs))


def _write(folder: Path, model: bytes) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    folder.mkdir()
    (folder / "model.onnx").write_bytes(model)
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 0), ("[SEP]", 1)],
    )
    # Published tokenizers often pad; the embedder must turn that off.
    tokenizer.enable_padding(length=MAX_TOKENS, pad_id=3, pad_token="[PAD]")
    tokenizer.save(str(folder / "tokenizer.json"))


def _embedder() -> bytes:
    """Encode the graph of an embedding model.

    `rows = (words + token types + positions) * mask`, each looked up in its table. The output is
    `rows + mean(rows)`, so that every token's vector depends on the whole text.
    """
    nodes = [
        *(_node("Gather", [f"{name}.table", name], f"{name}.rows") for name in TABLES),
        _node("Add", ["input_ids.rows", "token_type_ids.rows"], "typed"),
        _node("Add", ["typed", "position_ids.rows"], "placed"),
        _node("Mul", ["placed", "attention_mask.rows"], "masked"),
        _node("ReduceMean", ["masked"], "mean"),
        _node("Add", ["masked", "mean"], "last_hidden_state"),
    ]
    weights = {f"{name}.table": table for name, table in TABLES.items()}
    return _encode(nodes, weights, TABLES, "last_hidden_state", [1, "tokens", DIMENSION])


def _cross_encoder(outputs: int) -> bytes:
    """Encode the graph: one-hot words, their maximum over each text, and the sum of the product."""
    special = [each.startswith("[") for each in WORDS]
    weights = {
        "words": np.eye(len(WORDS), dtype=np.float32),
        "first": np.array([[1], [0]], np.float32),
        "second": np.array([[0], [1]], np.float32),
        "counted": np.tile(np.where(special, 0, 1).astype(np.float32)[:, None], outputs),
    }
    nodes = [_node("Gather", ["words", "input_ids"], "rows")]
    for text in ("first", "second"):
        nodes += [
            _node("Gather", [text, "token_type_ids"], f"{text}.mask"),
            _node("Mul", ["rows", f"{text}.mask"], f"{text}.rows"),
            _node("ReduceMax", [f"{text}.rows"], f"{text}.words", axes=1),
        ]
    nodes += [
        _node("Mul", ["first.words", "second.words"], "shared"),
        _node("MatMul", ["shared", "counted"], "logits"),
    ]
    return _encode(nodes, weights, ("input_ids", "token_type_ids"), "logits", [1, 1, outputs])


def _encode(
    nodes: Sequence[bytes],
    weights: Mapping[str, Floats],
    inputs: Iterable[str],
    output: str,
    shape: list[int | str],
) -> bytes:
    graph = _message(
        *((1, node) for node in nodes),
        (2, "small"),
        *((5, _weights(name, values)) for name, values in weights.items()),
        *((11, _value(name, _INT64, [1, "tokens"])) for name in inputs),
        (12, _value(output, _FLOAT, shape)),
    )
    return _message((1, 8), (7, graph), (8, _message((1, ""), (2, 13))))  # IR 8, operators 13


_FLOAT: Final = 1
_INT64: Final = 7


def _node(operator: str, inputs: list[str], output: str, axes: int | None = None) -> bytes:
    attributes = () if axes is None else ((5, _message((1, "axes"), (8, axes), (20, 7))),)
    return _message(*((1, each) for each in inputs), (2, output), (4, operator), *attributes)


def _weights(name: str, values: Floats) -> bytes:
    dimensions = ((1, each) for each in values.shape)
    return _message(*dimensions, (2, _FLOAT), (8, name), (9, values.tobytes()))


def _value(name: str, kind: int, shape: list[int | str]) -> bytes:
    sizes = ((1, _message((1 if isinstance(size, int) else 2, size))) for size in shape)
    tensor = _message((1, kind), (2, _message(*sizes)))
    return _message((1, name), (2, _message((1, tensor))))


def _message(*fields: tuple[int, Field]) -> bytes:
    """Encode `(number, value)` pairs as protobuf."""
    encoded = bytearray()
    for number, value in fields:
        if isinstance(value, int):
            encoded += _varint(number << 3) + _varint(value)
        else:
            data = value.encode() if isinstance(value, str) else value
            encoded += _varint(number << 3 | 2) + _varint(len(data)) + data
    return bytes(encoded)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
