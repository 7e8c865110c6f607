"""A collection of the server that stands in for Qdrant's (`tests.qdrant_server`).

Translates what is asked, in the models of Qdrant's own API, for the engine, and its answers back.
What Quire does not ask is refused, since to ignore it would prove nothing.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
import qdrant_edge as edge
from qdrant_client.http import models

DISTANCES = {
    models.Distance.COSINE: edge.Distance.Cosine,
    models.Distance.DOT: edge.Distance.Dot,
    models.Distance.EUCLID: edge.Distance.Euclid,
}
SCALAR_TYPES = {models.ScalarType.INT8: edge.ScalarType.Int8}
MODIFIERS = {None: None, models.Modifier.NONE: None, models.Modifier.IDF: edge.Modifier.Idf}
SEARCHED = ("query", "using", "limit", "filter", "params")
DONE = {"operation_id": 0, "status": "completed"}


class Refused(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(slots=True)
class Collection:
    """A folder with a shard, and what is known of it beside the points."""

    folder: Path
    asked: models.CreateCollection
    metadata: dict[str, Any]
    indexed: list[str]
    """Payload fields with a keyword index."""
    shard: edge.EdgeShard
    strict: bool
    """Refuse to filter on a field that has no index, as Qdrant Cloud does."""

    @classmethod
    def create(cls, folder: Path, asked: models.CreateCollection, *, strict: bool) -> "Collection":
        vectors = asked.vectors
        if not isinstance(vectors, dict):
            raise Refused(400, "Bad request: only named vectors are known here")
        refuse_other_fields(
            asked,
            {
                "vectors",
                "sparse_vectors",
                "metadata",
                "hnsw_config",
                "quantization_config",
                "on_disk_payload",
            },
        )
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "shard").mkdir(parents=True)
        config = edge.EdgeConfig(
            vectors={name: dense_params(each) for name, each in vectors.items()},
            sparse_vectors={
                name: sparse_params(each) for name, each in (asked.sparse_vectors or {}).items()
            },
            on_disk_payload=asked.on_disk_payload,
            hnsw_config=hnsw(asked.hnsw_config),
            quantization_config=quantization(asked.quantization_config),
            wal_enabled=False,
        )
        shard = edge.EdgeShard.create(str(folder / "shard"), config)
        made = cls(folder, asked, dict(asked.metadata or {}), [], shard, strict)
        made.save()
        return made

    @classmethod
    def load(cls, folder: Path, *, strict: bool) -> "Collection":
        kept = json.loads((folder / "collection.json").read_bytes())
        asked = models.CreateCollection.model_validate(kept["asked"])
        shard = edge.EdgeShard.load(str(folder / "shard"))
        return cls(folder, asked, kept["metadata"], kept["indexed"], shard, strict)

    def save(self) -> None:
        kept = {
            "asked": dump(self.asked),
            "metadata": self.metadata,
            "indexed": self.indexed,
        }
        replace(self.folder / "collection.json", kept)

    def update(self, asked: models.UpdateCollection) -> bool:
        # Key by key into what is there; null removes.
        for key, value in (asked.metadata or {}).items():
            self.metadata.pop(key, None)
            if value is not None:
                self.metadata[key] = value
        self.save()
        return True

    def remove(self) -> None:
        (self.folder / "collection.json").unlink()  # from here on it is gone for a restart
        self.shard.close()
        shutil.rmtree(self.folder)

    def info(self) -> models.CollectionInfo:
        return models.CollectionInfo(
            status=models.CollectionStatus.GREEN,
            optimizer_status=models.OptimizersStatusOneOf.OK,
            indexed_vectors_count=0,
            points_count=self.shard.info().points_count,
            segments_count=1,
            config=models.CollectionConfig(
                params=models.CollectionParams(
                    vectors=self.asked.vectors,
                    sparse_vectors=self.asked.sparse_vectors or None,
                    on_disk_payload=self.asked.on_disk_payload,
                ),
                hnsw_config=models.HnswConfig(
                    m=16,
                    ef_construct=100,
                    full_scan_threshold=10_000,
                    on_disk=self.asked.hnsw_config.on_disk if self.asked.hnsw_config else None,
                ),
                quantization_config=self.asked.quantization_config,
                optimizer_config=models.OptimizersConfig(
                    default_segment_number=0, flush_interval_sec=5
                ),
                metadata=self.metadata or None,
            ),
            payload_schema={
                name: models.PayloadIndexInfo(data_type=models.PayloadSchemaType.KEYWORD, points=0)
                for name in self.indexed
            },
        )

    def index(self, asked: models.CreateFieldIndex) -> Any:
        if asked.field_schema is not models.PayloadSchemaType.KEYWORD:
            raise Refused(400, "Bad request: only keyword indexes are known here")
        if asked.field_name not in self.indexed:
            self.indexed.append(asked.field_name)
            self.save()
        return DONE

    def upsert(self, asked: models.PointsList) -> Any:
        points = []
        for each in asked.points:
            if not isinstance(each.vector, dict):
                raise Refused(400, "Bad request: only named vectors are known here")
            vectors: dict[str, Any] = {name: vector(v) for name, v in each.vector.items()}
            points.append(edge.Point(each.id, vectors, each.payload))
        with refusing():
            self.shard.update(edge.UpdateOperation.upsert_points(points))
        return DONE

    def query(self, asked: list[models.QueryRequest]) -> Any:
        batch = edge.QueryBatchRequest([self._request(each) for each in asked])
        with refusing():
            answers = self.shard.query_batch(batch)
        return [
            {"points": [record(p) | {"version": p.version, "score": p.score} for p in points]}
            for points in answers
        ]

    def _request(self, asked: models.QueryRequest) -> edge.QueryRequest:
        refuse_other_fields(asked, {*SEARCHED, "prefetch", "with_payload", "with_vector"})
        return edge.QueryRequest(
            query=nearest(asked.query, asked.using),
            limit=10 if asked.limit is None else asked.limit,
            filter=self._filter(asked.filter),
            prefetches=self._prefetches(asked.prefetch),
            params=search_params(asked.params),
            with_payload=selector(asked.with_payload, False),
            with_vector=selector(asked.with_vector, False),
        )

    def _prefetches(
        self, asked: models.Prefetch | list[models.Prefetch] | None
    ) -> list[edge.Prefetch]:
        prefetches = []
        for each in asked if isinstance(asked, list) else [asked] if asked else []:
            refuse_other_fields(each, {*SEARCHED, "prefetch"})
            prefetches.append(
                edge.Prefetch(
                    query=nearest(each.query, each.using),
                    limit=10 if each.limit is None else each.limit,
                    filter=self._filter(each.filter),
                    prefetches=self._prefetches(each.prefetch),
                    params=search_params(each.params),
                )
            )
        return prefetches

    def scroll(self, asked: models.ScrollRequest) -> Any:
        request = edge.ScrollRequest(
            offset=asked.offset,
            limit=10 if asked.limit is None else asked.limit,
            filter=self._filter(asked.filter),
            with_payload=selector(asked.with_payload, True),
            with_vector=selector(asked.with_vector, False),
        )
        with refusing():
            found, following = self.shard.scroll(request)
        offset = following if following is None or isinstance(following, int) else str(following)
        return {"points": [record(each) for each in found], "next_page_offset": offset}

    def retrieve(self, asked: models.PointRequest) -> Any:
        with refusing():
            found = self.shard.retrieve(
                list(asked.ids),
                with_payload=selector(asked.with_payload, True),
                with_vector=selector(asked.with_vector, False),
            )
        return [record(each) for each in found]

    def _filter(self, asked: models.Filter | None) -> edge.Filter | None:
        if asked is None:
            return None
        if asked.model_fields_set != {"must"} or not isinstance(asked.must, list):
            raise Refused(400, "Bad request: only `must` is known here")
        conditions: list[Any] = []
        for each in asked.must:
            if not isinstance(each, models.FieldCondition) or not isinstance(
                each.match, models.MatchValue
            ):
                raise Refused(400, "Bad request: only the match of a value is known here")
            if self.strict and each.key not in self.indexed:
                raise Refused(
                    400,
                    f'Bad request: Index required but not found for "{each.key}" of one of the '
                    "following types: [keyword]. Help: Create an index for this key or use a "
                    "different filter.",
                )
            if each.key in self.indexed:
                self._make_index(each.key)
            match = edge.MatchValue(each.match.value)
            conditions.append(edge.FieldCondition(each.key, match=match))
        return edge.Filter(must=conditions)

    def _make_index(self, field: str) -> None:
        """The engine's own, when first it is used: each takes the disk a tenth of a second."""
        if field not in self.shard.info().payload_schema:
            keyword = edge.PayloadSchemaType.Keyword
            self.shard.update(edge.UpdateOperation.create_field_index(field, keyword))


def dense_params(asked: models.VectorParams) -> edge.EdgeVectorParams:
    refuse_other_fields(asked, {"size", "distance", "on_disk"})
    distance = DISTANCES[asked.distance]
    return edge.EdgeVectorParams(size=asked.size, distance=distance, on_disk=asked.on_disk)


def sparse_params(asked: models.SparseVectorParams) -> edge.EdgeSparseVectorParams:
    refuse_other_fields(asked, {"modifier", "index"})
    if asked.index:
        refuse_other_fields(asked.index, {"on_disk"})
    return edge.EdgeSparseVectorParams(
        modifier=MODIFIERS[asked.modifier], on_disk=asked.index.on_disk if asked.index else None
    )


def hnsw(asked: models.HnswConfigDiff | None) -> edge.HnswIndexConfig | None:
    if asked is None:
        return None
    refuse_other_fields(asked, {"on_disk"})
    return edge.HnswIndexConfig(
        m=16, ef_construct=100, full_scan_threshold=10_000, on_disk=asked.on_disk
    )


def quantization(asked: Any) -> Any:
    match asked:
        case None:
            return None
        case models.ScalarQuantization(scalar=scalar):
            kind = SCALAR_TYPES[scalar.type]
            return edge.ScalarQuantizationConfig(kind, scalar.quantile, scalar.always_ram)
        case models.BinaryQuantization(binary=binary):
            refuse_other_fields(binary, {"always_ram"})
            return edge.BinaryQuantizationConfig(binary.always_ram)
    raise Refused(400, "Bad request: this quantization is not known here")


def search_params(asked: models.SearchParams | None) -> edge.SearchParams | None:
    if asked is None:
        return None
    refuse_other_fields(asked, {"quantization"})
    told = asked.quantization or models.QuantizationSearchParams()
    chosen = edge.QuantizationSearchParams(
        ignore=bool(told.ignore), rescore=told.rescore, oversampling=told.oversampling
    )
    return edge.SearchParams(quantization=chosen)


def dump(model: pydantic.BaseModel) -> Any:
    """What is not there is left out: the client knows fields that no released server sends."""
    return model.model_dump(mode="json", exclude_none=True)


def refuse_other_fields(asked: pydantic.BaseModel, known: set[str]) -> None:
    """Of what Qdrant's API describes, this is not built for all."""
    given = {name for name in asked.model_fields_set if getattr(asked, name) is not None}
    if given - known:
        raise Refused(400, f"Bad request: {', '.join(sorted(given - known))} are not known here")


def vector(asked: Any) -> Any:
    """For the engine, a dense or a sparse one."""
    match asked:
        case list():
            return asked
        case models.SparseVector(indices=indices, values=values):
            if len(indices) != len(values) or len({*indices}) != len(indices):
                raise Refused(422, "Validation error in JSON body: [indices: must be unique]")
            return edge.SparseVector(indices, values)
    raise Refused(400, "Bad request: only vectors of numbers are known here")


def nearest(asked: Any, using: str | None) -> edge.Query:
    if isinstance(asked, models.NearestQuery):
        refuse_other_fields(asked, {"nearest"})
        asked = asked.nearest
    return edge.Query.Nearest(vector(asked), using=using)


def record(found: edge.Record | edge.ScoredPoint) -> dict[str, Any]:
    """As JSON: fields that were not asked for are not there."""
    shown: dict[str, Any] = {
        "id": found.id if isinstance(found.id, int) else str(found.id),
        "payload": found.payload,
        "vector": found.vector and shown_vectors(found.vector),
    }
    return {key: value for key, value in shown.items() if value is not None}


def shown_vectors(vectors: Any) -> dict[str, Any]:
    return {
        name: {"indices": each.indices, "values": each.values}
        if isinstance(each, edge.SparseVector)
        else each
        for name, each in vectors.items()
    }


def selector(asked: Any, default: bool) -> bool | list[str]:
    if asked is None:
        return default
    if isinstance(asked, bool | list):
        return asked
    raise Refused(400, "Bad request: only true, false and a list of fields are known here")


@contextmanager
def refusing() -> Iterator[None]:
    """What the engine refuses, as the server tells it."""
    try:
        yield
    except Exception as error:  # the engine raises nothing more specific
        raise Refused(400, f"Wrong input: {error}") from error


def replace(path: Path, content: Any) -> None:
    """In one step, so that a killed process leaves the old or the new."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(json.dumps(content), encoding="utf-8")
    beside.replace(path)
