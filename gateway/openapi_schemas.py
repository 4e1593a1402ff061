"""JSON Schemas of the models that routes read and answer with, as the components of the API description."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

from gateway.models.base import NoBody, NoQuery
from gateway.routing import AnyRoute

#: A part of the description, or a JSON Schema.
Node: TypeAlias = dict[str, Any]

REFERENCE = "#/components/schemas/"
_NONE: tuple[type[BaseModel], ...] = (NoBody, NoQuery, BaseModel)

FIXED: Mapping[str, Node] = {
    "Pagination": {
        "type": "object",
        "description": "Which part of a list this is: `limit` is what was taken, `page` counts from 1.",
        "required": ["page", "limit", "total", "totalPages"],
        "properties": {
            "page": {"type": "integer", "minimum": 1, "examples": [1]},
            "limit": {"type": "integer", "minimum": 1, "maximum": 100, "examples": [20]},
            "total": {"type": "integer", "minimum": 0, "examples": [1]},
            "totalPages": {"type": "integer", "minimum": 0, "examples": [1]},
        },
    },
    "Problem": {
        "type": "object",
        "description": "One thing that is wrong with a request.",
        "required": ["field", "reason"],
        "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
    },
    "Failure": {
        "type": "object",
        "description": "A request that was refused. `details` names the first problem, and all of them in `errors`.",
        "required": ["success", "error", "code", "details", "requestId"],
        "properties": {
            "success": {"const": False},
            "error": {"type": "string"},
            "code": {"type": "string"},
            "details": {
                "type": "object",
                "required": ["field", "reason", "errors"],
                "properties": {
                    "field": {"type": ["string", "null"]},
                    "reason": {"type": "string"},
                    "errors": {"type": "array", "items": {"$ref": f"{REFERENCE}Problem"}},
                },
            },
            "requestId": {"type": ["string", "null"], "description": "The answer's `X-Request-Id`."},
        },
    },
}


class _Generator(GenerateJsonSchema):
    """Names no field twice, and requires of an answer every field: none is ever left out."""

    def field_title_should_be_set(self, _schema: object) -> bool:
        return False

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        return self.mode == "serialization" or super().field_is_required(field, total)


class Schemas:
    """The schemas of everything that some routes read and answer with."""

    def __init__(self, routes: Iterable[AnyRoute]) -> None:
        routes = tuple(routes)
        wanted: dict[tuple[type[BaseModel], Literal["validation", "serialization"]], None] = {}
        for route in routes:
            wanted |= {(route.query, "validation"): None, (route.body, "validation"): None}
            wanted[route.answer, "serialization"] = None
        models = [each for each in wanted if each[0] not in _NONE]
        made, definitions = models_json_schema(models, ref_template=REFERENCE + "{model}", schema_generator=_Generator)
        self._of = {(model, mode): schema for (model, mode), schema in made.items()}
        self.components: dict[str, Node] = {**FIXED, **definitions.get("$defs", {})}
        self._leave_defaults_out_of_changes(routes)
        for model in {route.query for route in routes} - set(_NONE):
            # Query models are shown parameter by parameter.
            del self.components[_name(self._of[model, "validation"])]

    def body(self, model: type[BaseModel]) -> Node:
        """Return the schema of a request's body, a reference."""
        return self._of[model, "validation"]

    def answer(self, model: type[BaseModel]) -> Node:
        """Return the schema of an answer's `data`, a reference; nothing but `null` without a model."""
        return {"type": "null"} if model in _NONE else self._of[model, "serialization"]

    def resolve(self, schema: Node) -> Node:
        """Return what a schema refers to, or itself."""
        return self.components[_name(schema)] if "$ref" in schema else schema

    def _leave_defaults_out_of_changes(self, routes: Iterable[AnyRoute]) -> None:
        """A change leaves alone what it is not given: the models' own defaults would say otherwise."""
        changes: set[str] = set()
        others: set[str] = set()
        for route in routes:
            if route.body not in _NONE:
                reached = set(self._reached(self.body(route.body)))
                (changes if route.method in {"PUT", "PATCH"} else others).update(reached)
        for name in changes - others:
            for schema in self.components[name].get("properties", {}).values():
                schema.pop("default", None)

    def _reached(self, schema: Node) -> Iterator[str]:
        todo, seen = [schema], set[str]()
        while todo:
            for name in references(todo.pop()):
                if name not in seen:
                    seen.add(name)
                    todo.append(self.components[name])
                    yield name


def query_schemas(model: type[BaseModel]) -> dict[str, tuple[Node, bool]]:
    """Return the schema of each query parameter and whether it must be given; what isn't given can't be `null`."""
    whole = model.model_json_schema(schema_generator=_Generator, ref_template=REFERENCE + "{model}")
    definitions, required = whole.get("$defs", {}), whole.get("required", [])
    return {
        name: (_parameter(_inlined(schema, definitions)), name in required)
        for name, schema in whole.get("properties", {}).items()
    }


def references(node: object) -> Iterator[str]:
    """Return the names of the components that a part of the description refers to."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str) and value.startswith(REFERENCE):
                yield value.removeprefix(REFERENCE)
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema["$ref"]).removeprefix(REFERENCE)


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[_name(schema)], definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items()}


def _parameter(schema: Node) -> Node:
    shown = {key: value for key, value in schema.items() if key not in {"anyOf", "description"}}
    kinds = [kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"]
    if len(kinds) == 1:
        shown |= kinds[0]
    elif kinds:
        shown["anyOf"] = kinds
    if shown.get("default") is None:
        shown.pop("default", None)
    return shown | ({"description": schema["description"]} if "description" in schema else {})
