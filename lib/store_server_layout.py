"""How a collection on a Qdrant server keeps its vectors: the options for large books.

Quantised vectors stay in memory and choose the candidates; the vectors as they were sent then score
them, so a score means the same with and without.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from lib.store import DENSE, SPARSE

if TYPE_CHECKING:
    from qdrant_client.models import SearchParams

Quantization = Literal["none", "scalar", "binary"]
OVERSAMPLING = {"scalar": 2.0, "binary": 3.0}
"""So many times as many candidates are scored again as are asked for."""


@dataclass(frozen=True, slots=True)
class Layout:
    """`quantization`: 1 byte (scalar) or 1 bit (binary) a number beside the vectors' 4 bytes.

    `on_disk`: vectors, their graph, terms and payloads are read from the disk and cached, not held.
    """

    quantization: Quantization = "none"
    on_disk: bool = False

    def collection(self, dimension: int) -> dict[str, Any]:
        """The arguments of `create_collection` for vectors of so many numbers."""
        from qdrant_client.models import (
            Distance,
            HnswConfigDiff,
            Modifier,
            SparseIndexParams,
            SparseVectorParams,
            VectorParams,
        )

        dense = VectorParams(size=dimension, distance=Distance.COSINE)
        terms = SparseVectorParams(modifier=Modifier.IDF)
        others: dict[str, Any] = {}
        if self.on_disk:
            # Servers after 1.18 call this `memory`, but still take the name that all know.
            dense.on_disk = True
            terms.index = SparseIndexParams(on_disk=True)
            others = {"hnsw_config": HnswConfigDiff(on_disk=True), "on_disk_payload": True}
        if self.quantization != "none":
            others["quantization_config"] = self._quantization_config()
        return {
            "vectors_config": {DENSE: dense},
            "sparse_vectors_config": {SPARSE: terms},
            **others,
        }

    def search_params(self) -> "SearchParams | None":
        """For a query by meaning. A collection that was made without quantisation ignores them."""
        from qdrant_client.models import QuantizationSearchParams, SearchParams

        if self.quantization == "none":
            return None
        return SearchParams(
            quantization=QuantizationSearchParams(
                rescore=True, oversampling=OVERSAMPLING[self.quantization]
            )
        )

    def _quantization_config(self) -> Any:
        from qdrant_client.models import (
            BinaryQuantization,
            BinaryQuantizationConfig,
            ScalarQuantization,
            ScalarQuantizationConfig,
            ScalarType,
        )

        if self.quantization == "binary":
            return BinaryQuantization(binary=BinaryQuantizationConfig(always_ram=True))
        return ScalarQuantization(
            scalar=ScalarQuantizationConfig(type=ScalarType.INT8, quantile=0.99, always_ram=True)
        )
