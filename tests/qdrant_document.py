"""Validate requests and responses against Qdrant's OpenAPI document.

The document is Qdrant's `docs/redoc/<version>/openapi.json`, which is not part of this repository.
If the environment variable QDRANT_OPENAPI is the path of a copy, `tests.qdrant_server` validates
every request and response in every test.
"""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

VARIABLE = "QDRANT_OPENAPI"
COMBINED = frozenset({"anyOf", "oneOf", "allOf"})


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its response, as sent over HTTP."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    status: int
    answer: bytes


class Document:
    def __init__(self, path: Path) -> None:
        document = json.loads(path.read_bytes())
        self._components = {
            "components": {"schemas": strict(document["components"]["schemas"], named=True)}
        }
        self._operations = [
            (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
        ]

    @classmethod
    def from_environment(cls) -> "Document | None":
        path = os.environ.get(VARIABLE)
        return cls(Path(path)) if path else None

    def violations(self, exchange: Exchange) -> list[str]:
        """Return every violation of the document in a request and its response.

        Responses to a wrong key (plain text) and to an unknown path (empty) are not validated:
        Qdrant's document does not describe them.
        """
        operation = self._operation(exchange)
        if operation is None:
            return [f"{exchange.method} {exchange.path}: no such operation"]
        found = [*self._of_query(exchange, operation), *self._of_body(exchange, operation)]
        if exchange.status not in (401, 403) and exchange.answer:
            found += self._of_answer(exchange, operation)
        return [f"{exchange.method} {exchange.path}: {each}" for each in found]

    def _operation(self, exchange: Exchange) -> Any:
        # A literal path wins over a parameter: /collections/aliases is not a collection.
        matching = [
            (pattern.pattern.count("[^/]+"), operation)
            for method, pattern, operation in self._operations
            if method == exchange.method and pattern.fullmatch(exchange.path)
        ]
        return min(matching, key=lambda each: each[0])[1] if matching else None

    def _of_query(self, exchange: Exchange, operation: Any) -> list[str]:
        known = {p["name"]: p for p in operation.get("parameters", ()) if p["in"] == "query"}
        found = [f"unknown parameter {name}" for name in exchange.query if name not in known]
        for name, parameter in known.items():
            if name in exchange.query:
                text = exchange.query[name]
                value = int(text) if text.isdigit() else {"true": True, "false": False}.get(text)
                found += self._check(text if value is None else value, parameter["schema"])
            elif parameter.get("required"):
                found.append(f"missing parameter {name}")
        return found

    def _of_body(self, exchange: Exchange, operation: Any) -> list[str]:
        described = operation.get("requestBody")
        if described is None:
            return ["unexpected body"] if exchange.body else []
        schema = described["content"]["application/json"]["schema"]
        return self._check(json.loads(exchange.body), schema)

    def _of_answer(self, exchange: Exchange, operation: Any) -> list[str]:
        answers = operation["responses"]
        described = answers.get(str(exchange.status)) or answers.get(f"{exchange.status // 100}XX")
        if described is None:
            return [f"unknown status {exchange.status}"]
        schema = described["content"]["application/json"]["schema"]
        return self._check(json.loads(exchange.answer), schema)

    def _check(self, value: Any, schema: Any) -> list[str]:
        validator = Draft7Validator(self._components | {"allOf": [strict(schema)]})
        return [f"{each.json_path}: {each.message[:300]}" for each in validator.iter_errors(value)]


def strict(schema: Any, *, named: bool = False, part: bool = False) -> Any:
    """Convert an OpenAPI schema to JSON Schema that forbids undocumented fields.

    `nullable` becomes a type. `named`: `schema` maps names to schemas. `part`: `schema` is part of
    an `allOf`, so the other parts may define more fields.
    """
    if isinstance(schema, list):
        return [strict(each, part=part) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if named:
        return {name: strict(each) for name, each in schema.items()}
    made = {
        key: strict(value, named=key == "properties", part=key == "allOf")
        if key in COMBINED or key in ("properties", "items", "additionalProperties")
        else value
        for key, value in schema.items()
        if key != "nullable"
    }
    open_ended = "additionalProperties" in made or COMBINED & made.keys() or part
    if "properties" in made and not open_ended:
        made["additionalProperties"] = False
    if schema.get("nullable"):
        described = {"type", "$ref", "enum", *COMBINED} & made.keys()
        return {"anyOf": [made, {"type": "null"}]} if described else {"type": "null"}
    return made
