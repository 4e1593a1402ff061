"""Fills a JSON schema: with what is known where names and types fit, else with the smallest value that is allowed."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from sandbox.body import JsonObject, as_list, as_number, as_object, as_text

#: A schema that can only be fulfilled by nesting without end is given up at this depth.
_DEEPEST = 24
#: What stands for "none of these" in lists of allowed values, the best first.
_CATCH_ALL = ("unknown", "other", "none", "general", "fallback")
_SAMPLES = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "email": "nobody@example.com",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "uri": "https://example.com/",
}


def fill(schema: JsonObject, known: object = None) -> object:
    """Return a value that follows `schema`.

    Args:
        schema: with `$ref` inside itself, types, `enum`, `const`, `anyOf` and bounds; patterns are not understood.
        known: what to say; properties of objects find theirs by name, whatever the letter case and underscores.
    """
    return _Filler(schema).value(schema, known, 0)


def normal(name: str) -> str:
    """Return a name as it is compared: `requires_escalation` and `requiresEscalation` are the same."""
    return name.replace("_", "").replace("-", "").casefold()


class _Filler:
    def __init__(self, root: JsonObject) -> None:
        self._root = root

    def value(self, schema: JsonObject, known: object, depth: int) -> object:
        if depth > _DEEPEST:
            return None
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return _allowed(as_list(schema["enum"]), known)
        branches = self._branches(schema)
        if branches:
            return self.value(self._branch(branches, known), known, depth + 1)
        return self._typed(schema, known, depth)

    def _typed(self, schema: JsonObject, known: object, depth: int) -> object:
        kind = schema.get("type", "object" if "properties" in schema else None)
        result: object = known
        match kind:
            case "object":
                result = self._object(schema, known, depth)
            case "array":
                result = self._array(schema, known, depth)
            case "string":
                result = _string(schema, known)
            case "number" | "integer":
                result = _number(schema, known)
            case "boolean":
                result = known is True
            case "null":
                result = None
            case _:
                pass
        return result

    def _resolved(self, schema: JsonObject) -> JsonObject:
        for _ in range(_DEEPEST):
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                break
            schema = self._root
            for part in reference.lstrip("#").split("/"):
                schema = as_object(schema.get(part)) if part else schema
        return schema

    @staticmethod
    def _branches(schema: JsonObject) -> list[JsonObject]:
        """Return what there is to choose from: `anyOf`, `oneOf`, or several types."""
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return [{**schema, "type": kind} for kind in kinds]
        return [as_object(branch) for branch in as_list(schema.get("anyOf", schema.get("oneOf")))]

    def _branch(self, branches: list[JsonObject], known: object) -> JsonObject:
        resolved = [self._resolved(branch) for branch in branches]
        fitting = (branch for branch in resolved if _fits(branch, known))
        return next(fitting, next((branch for branch in resolved if branch.get("type") == "null"), resolved[0]))

    def _object(self, schema: JsonObject, known: object, depth: int) -> JsonObject:
        given = {normal(name): value for name, value in as_object(known).items()}
        properties = as_object(schema.get("properties"))
        filled = {
            name: self.value(as_object(part), given.get(normal(name)), depth + 1) for name, part in properties.items()
        }
        # a schema without strictness may leave room for names of the answer's own
        more = schema.get("additionalProperties", not properties)
        if more is not False:
            taken = {normal(name) for name in properties}
            for name, value in as_object(known).items():
                if normal(name) not in taken:
                    filled[name] = self.value(as_object(more), value, depth + 1)
        return filled

    def _array(self, schema: JsonObject, known: object, depth: int) -> list[object]:
        """Fill an array; an object that is known becomes a list of `{name, value}`."""
        items = as_object(schema.get("items"))
        if isinstance(known, Mapping):
            known = [{"name": name, "key": name, "value": value} for name, value in known.items()]
        filled = [self.value(items, item, depth + 1) for item in as_list(known)]
        while len(filled) < as_number(schema.get("minItems")):
            filled.append(self.value(items, None, depth + 1))
        most = schema.get("maxItems")
        return filled[: int(as_number(most))] if most is not None else filled


def _fits(schema: JsonObject, known: object) -> bool:
    if known is None:
        return False
    if "enum" in schema or "const" in schema:
        return known in as_list(schema.get("enum")) or known == schema.get("const")
    match known:
        case bool():
            kinds = ["boolean"]
        case int():
            kinds = ["integer", "number"]
        case float():
            kinds = ["number"]
        case str():
            kinds = ["string", "integer", "number"] if known.isdecimal() else ["string"]
        case dict():
            kinds = ["object", "array"]
        case _:
            kinds = ["array"]
    return schema.get("type") in kinds


def _allowed(values: list[object], known: object) -> object:
    """Choose a value of a list: the same, one of nearly the same name, or what stands for none of them."""
    if known is not None and known in values:
        return known
    if isinstance(known, str):
        name = normal(known)
        for value in values:
            other = normal(as_text(value))
            if other and (name.startswith(other) or other.startswith(name)):
                return value
    return next((value for value in _CATCH_ALL if value in values), None if None in values else values[0])


def _string(schema: JsonObject, known: object) -> str:
    text = known if isinstance(known, str) else _SAMPLES.get(as_text(schema.get("format")), "")
    if known is not None and not isinstance(known, str):
        text = orjson.dumps(known).decode()
    text = text.ljust(int(as_number(schema.get("minLength"))), "-")
    most = schema.get("maxLength")
    return text[: int(as_number(most))] if most is not None else text


def _number(schema: JsonObject, known: object) -> float:
    number = as_number(int(known) if isinstance(known, str) and known.isdecimal() else known)
    for keyword, step in (("minimum", 0), ("exclusiveMinimum", 1)):
        if keyword in schema:
            number = max(number, as_number(schema[keyword]) + step)
    for keyword, step in (("maximum", 0), ("exclusiveMaximum", 1)):
        if keyword in schema:
            number = min(number, as_number(schema[keyword]) - step)
    return int(number) if schema.get("type") == "integer" else number
