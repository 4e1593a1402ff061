"""What OpenAI asks of a JSON schema in strict mode, checked as OpenAI checks it.

Source: OpenAI's guide "Structured outputs", part "Supported schemas": the root is an object, every object has
`additionalProperties: false` and requires all of its properties, and some keywords are not there.
"""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.body import JsonObject, as_list, as_object

_NOT_PERMITTED = ("allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "default")

Path = tuple[str, ...]


class WrongSchema(ValueError):
    """A schema can't be used in strict mode; the text is OpenAI's."""


def check(schema: JsonObject) -> None:
    """Check a schema that is to be followed strictly.

    Raises:
        WrongSchema: naming the first place that is not allowed.
    """
    if schema.get("type") != "object":
        found = schema.get("type", "None")
        raise WrongSchema(f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{found}\"'.")
    for path, part in _parts(schema, ()):
        _check_part(path, part)


def _check_part(path: Path, part: JsonObject) -> None:
    where = f"In context={path}"
    for keyword in _NOT_PERMITTED:
        if keyword in part:
            raise WrongSchema(f"{where}, '{keyword}' is not permitted.")
    if part.get("type") != "object" and "properties" not in part:
        return
    if part.get("additionalProperties") is not False:
        raise WrongSchema(f"{where}, 'additionalProperties' is required to be supplied and to be false.")
    required = as_list(part.get("required"))
    for name in as_object(part.get("properties")):
        if name not in required:
            raise WrongSchema(
                f"{where}, 'required' is required to be supplied and to be an array including every key in "
                f"properties. Missing '{name}'."
            )


def _parts(schema: JsonObject, path: Path) -> Iterator[tuple[Path, JsonObject]]:
    """Return the schema and all that it is made of, outermost first."""
    yield path, schema
    for keyword in ("properties", "$defs", "definitions"):
        for name, part in as_object(schema.get(keyword)).items():
            yield from _parts(as_object(part), (*path, keyword, name))
    if isinstance(schema.get("items"), dict):
        yield from _parts(as_object(schema["items"]), (*path, "items"))
    for number, part in enumerate(as_list(schema.get("anyOf"))):
        yield from _parts(as_object(part), (*path, "anyOf", str(number)))
