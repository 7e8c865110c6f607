"""A collection of the Qdrant test server (`tests.qdrant_server`).

Translates between the models of Qdrant's REST API and the embedded engine. Rejects everything that
Quire does not use: silently ignoring a field would make a test meaningless.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

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
UNINDEXED_REFUSED = models.StrictModeConfig(enabled=True, unindexed_filtering_retrieve=False)
"""Qdrant Cloud's default."""
DONE = {"operation_id": 0, "status": "completed"}


class Rejected(Exception):
    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(slots=True)
class Collection:
    """A folder with a shard and its metadata."""

    folder: Path
    asked: models.CreateCollection
    metadata: dict[str, Any]
    indexed: list[str]
    """Payload fields with a keyword index."""
    shard: edge.EdgeShard
    strict_mode: models.StrictModeConfig
    """The limits that it enforces, in Qdrant's words."""

    @classmethod
    def create(
        cls, folder: Path, asked: models.CreateCollection, strict_mode: models.StrictModeConfig
    ) -> "Collection":
        vectors = asked.vectors
        if not isinstance(vectors, dict):
            raise Rejected(400, "Bad request: only named vectors are supported")
        reject_other_fields(
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
        made = cls(folder, asked, dict(asked.metadata or {}), [], shard, strict_mode)
        made.save()
        return made

    @classmethod
    def load(cls, folder: Path) -> "Collection":
        kept = json.loads((folder / "collection.json").read_bytes())
        asked = models.CreateCollection.model_validate(kept["asked"])
        shard = edge.EdgeShard.load(str(folder / "shard"))
        strict_mode = models.StrictModeConfig.model_validate(kept["strict_mode"])
        return cls(folder, asked, kept["metadata"], kept["indexed"], shard, strict_mode)

    def save(self) -> None:
        kept = {
            "asked": dump(self.asked),
            "metadata": self.metadata,
            "indexed": self.indexed,
            "strict_mode": dump(self.strict_mode),
        }
        replace(self.folder / "collection.json", kept)

    def check(self, setting: str, value: float | None, name: str) -> None:
        """Reject a value above the limit of `setting`."""
        limit = getattr(self.strict_mode, setting) if self.strict_mode.enabled else None
        if limit is not None and value is not None and value > limit:
            raise Rejected(
                400,
                f'Bad request: Limit exceeded {value} > {limit} for "{name}". Help: Reduce the '
                f'"{name}" parameter to or below {limit}.',
            )

    def update(self, asked: models.UpdateCollection) -> bool:
        reject_other_fields(asked, {"metadata", "strict_mode_config"})
        if asked.strict_mode_config is not None:
            changes = asked.strict_mode_config.model_dump(exclude_unset=True)
            self.strict_mode = self.strict_mode.model_copy(update=changes)
        # Merged key by key; null removes a key.
        for key, value in (asked.metadata or {}).items():
            self.metadata.pop(key, None)
            if value is not None:
                self.metadata[key] = value
        self.save()
        return True

    def remove(self) -> None:
        (self.folder / "collection.json").unlink()  # first, so that a restart ignores the rest
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
                strict_mode_config=models.StrictModeConfigOutput(
                    **self.strict_mode.model_dump(exclude_none=True)
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
            raise Rejected(400, "Bad request: only keyword indexes are supported")
        most = self.strict_mode.max_payload_index_count if self.strict_mode.enabled else None
        if most is not None and len(self.indexed) >= most:
            raise Rejected(
                400,
                "Bad request: Collection already has the maximum number of payload indices "
                f"({most}). Help: Please delete an existing index before creating a new one.",
            )
        if asked.field_name not in self.indexed:
            self.indexed.append(asked.field_name)
            self.save()
        return DONE

    def upsert(self, asked: models.PointsList) -> Any:
        self.check("upsert_max_batchsize", len(asked.points), "upsert limit")
        points = []
        for each in asked.points:
            if not isinstance(each.vector, dict):
                raise Rejected(400, "Bad request: only named vectors are supported")
            vectors: dict[str, Any] = {name: vector(v) for name, v in each.vector.items()}
            points.append(edge.Point(each.id, vectors, each.payload))
        with translated_errors():
            self.shard.update(edge.UpdateOperation.upsert_points(points))
        return DONE

    def query(self, asked: list[models.QueryRequest]) -> Any:
        self.check("search_max_batchsize", len(asked), "search batch size")
        batch = edge.QueryBatchRequest([self._request(each) for each in asked])
        with translated_errors():
            answers = self.shard.query_batch(batch)
        return [
            {"points": [record(p) | {"version": p.version, "score": p.score} for p in points]}
            for points in answers
        ]

    def _request(self, asked: models.QueryRequest) -> edge.QueryRequest:
        reject_other_fields(asked, {*SEARCHED, "offset", "prefetch", "with_payload", "with_vector"})
        self._check_query(asked)
        return edge.QueryRequest(
            query=nearest(asked.query, asked.using),
            limit=10 if asked.limit is None else asked.limit,
            offset=asked.offset,
            filter=self._filter(asked.filter),
            prefetches=self._prefetches(asked.prefetch),
            params=search_params(asked.params),
            with_payload=selector(asked.with_payload, False),
            with_vector=selector(asked.with_vector, False),
        )

    def _check_query(self, asked: models.QueryRequest | models.Prefetch) -> None:
        self.check("max_query_limit", 10 if asked.limit is None else asked.limit, "limit")
        quantization = asked.params.quantization if asked.params else None
        factor = quantization.oversampling if quantization else None
        self.check("search_max_oversampling", factor, "oversampling")

    def _prefetches(
        self, asked: models.Prefetch | list[models.Prefetch] | None
    ) -> list[edge.Prefetch]:
        prefetches = []
        for each in asked if isinstance(asked, list) else [asked] if asked else []:
            reject_other_fields(each, {*SEARCHED, "prefetch"})
            self._check_query(each)
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
        self.check("max_query_limit", asked.limit, "limit")
        request = edge.ScrollRequest(
            offset=asked.offset,
            limit=10 if asked.limit is None else asked.limit,
            filter=self._filter(asked.filter),
            with_payload=selector(asked.with_payload, True),
            with_vector=selector(asked.with_vector, False),
        )
        with translated_errors():
            found, following = self.shard.scroll(request)
        offset = following if following is None or isinstance(following, int) else str(following)
        return {"points": [record(each) for each in found], "next_page_offset": offset}

    def retrieve(self, asked: models.PointRequest) -> Any:
        with translated_errors():
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
            raise Rejected(400, "Bad request: only `must` is supported")
        conditions: list[Any] = []
        for each in asked.must:
            if isinstance(each, models.HasIdCondition):
                size = self.strict_mode.condition_max_size if self.strict_mode.enabled else None
                if size is not None and len(each.has_id) > size:
                    raise Rejected(
                        400,
                        f"Bad request: Condition size limit reached ({len(each.has_id)} > {size})"
                        ". Help: Reduce the size of your condition.",
                    )
                conditions.append(edge.HasIdCondition({UUID(str(key)) for key in each.has_id}))
                continue
            if not isinstance(each, models.FieldCondition) or not isinstance(
                each.match, models.MatchValue
            ):
                raise Rejected(400, "Bad request: only the match of a value is supported")
            unindexed = self.strict_mode.unindexed_filtering_retrieve
            refused = self.strict_mode.enabled and unindexed is False
            if refused and each.key not in self.indexed:
                raise Rejected(
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
        """Create the engine's index on first use: each costs a tenth of a second of disk time."""
        if field not in self.shard.info().payload_schema:
            keyword = edge.PayloadSchemaType.Keyword
            self.shard.update(edge.UpdateOperation.create_field_index(field, keyword))


def dense_params(asked: models.VectorParams) -> edge.EdgeVectorParams:
    reject_other_fields(asked, {"size", "distance", "on_disk"})
    distance = DISTANCES[asked.distance]
    return edge.EdgeVectorParams(size=asked.size, distance=distance, on_disk=asked.on_disk)


def sparse_params(asked: models.SparseVectorParams) -> edge.EdgeSparseVectorParams:
    reject_other_fields(asked, {"modifier", "index"})
    if asked.index:
        reject_other_fields(asked.index, {"on_disk"})
    return edge.EdgeSparseVectorParams(
        modifier=MODIFIERS[asked.modifier], on_disk=asked.index.on_disk if asked.index else None
    )


def hnsw(asked: models.HnswConfigDiff | None) -> edge.HnswIndexConfig | None:
    if asked is None:
        return None
    reject_other_fields(asked, {"on_disk"})
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
            reject_other_fields(binary, {"always_ram"})
            return edge.BinaryQuantizationConfig(binary.always_ram)
    raise Rejected(400, "Bad request: this quantization is not supported")


def search_params(asked: models.SearchParams | None) -> edge.SearchParams | None:
    if asked is None:
        return None
    reject_other_fields(asked, {"quantization"})
    given = asked.quantization or models.QuantizationSearchParams()
    chosen = edge.QuantizationSearchParams(
        ignore=bool(given.ignore), rescore=given.rescore, oversampling=given.oversampling
    )
    return edge.SearchParams(quantization=chosen)


def dump(model: pydantic.BaseModel) -> Any:
    """Dump a model without unset fields: the client has fields that no released server sends."""
    return model.model_dump(mode="json", exclude_none=True)


def reject_other_fields(asked: pydantic.BaseModel, known: set[str]) -> None:
    """Reject fields of Qdrant's API that this server does not implement."""
    given = {name for name in asked.model_fields_set if getattr(asked, name) is not None}
    if given - known:
        raise Rejected(400, f"Bad request: {', '.join(sorted(given - known))} are not supported")


def vector(asked: Any) -> Any:
    """Convert a dense or sparse vector for the engine."""
    match asked:
        case list():
            return asked
        case models.SparseVector(indices=indices, values=values):
            if len(indices) != len(values) or len({*indices}) != len(indices):
                raise Rejected(422, "Validation error in JSON body: [indices: must be unique]")
            return edge.SparseVector(indices, values)
    raise Rejected(400, "Bad request: only vectors of numbers are supported")


def nearest(asked: Any, using: str | None) -> edge.Query:
    if isinstance(asked, models.NearestQuery):
        reject_other_fields(asked, {"nearest"})
        asked = asked.nearest
    return edge.Query.Nearest(vector(asked), using=using)


def record(found: edge.Record | edge.ScoredPoint) -> dict[str, Any]:
    """Convert a record to JSON without the fields that were not requested."""
    shown: dict[str, Any] = {
        "id": found.id if isinstance(found.id, int) else str(found.id),
        "payload": found.payload,
        "vector": found.vector and vectors_as_json(found.vector),
    }
    return {key: value for key, value in shown.items() if value is not None}


def vectors_as_json(vectors: Any) -> dict[str, Any]:
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
    raise Rejected(400, "Bad request: only true, false and a list of fields are supported")


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn errors of the engine into the server's error response."""
    try:
        yield
    except Exception as error:  # the engine raises no more specific exception
        raise Rejected(400, f"Wrong input: {error}") from error


def replace(path: Path, content: Any) -> None:
    """Replace a JSON file atomically, so that a killed process leaves the old or the new one."""
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(path)
