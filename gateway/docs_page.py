"""The API description as a page to read: one file that needs nothing else, also without a network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from html import escape
from importlib import resources
from typing import Any, Final

import orjson

from gateway.openapi_schemas import REFERENCE, Node

_STATIC = resources.files("gateway") / "static"
_STYLE: Final = (_STATIC / "docs.css").read_text(encoding="utf-8")
_SCRIPT: Final = (_STATIC / "docs.js").read_text(encoding="utf-8")
_METHODS_WITHOUT_FLAG = frozenset({"GET"})


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"


#: Nothing runs and nothing is loaded but what the page itself has.
CONTENT_SECURITY_POLICY: Final = (
    f"default-src 'none'; style-src {_source(_STYLE)}; script-src {_source(_SCRIPT)}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def render(document: Node) -> str:
    """Return the page of a description."""
    info = document["info"]
    sections = {tag["name"]: list(_operations(document, tag["name"])) for tag in document["tags"]}
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info['title'])}: API</title>",
            f"<style>{_STYLE}</style></head><body>",
            '<a class="skip" href="#content">Skip to the content</a>',
            *_navigation(info["title"], sections),
            '<main id="content">',
            f"<h1>{escape(info['title'])}</h1>",
            f"<p>{escape(info['description'])}</p>",
            *_introduction(document),
            *(line for name, operations in sections.items() for line in _section(name, operations, document)),
            *_schemas(document["components"]["schemas"]),
            f"</main><script>{_SCRIPT}</script></body></html>",
        ]
    )


def _operations(document: Node, tag: str) -> Iterator[tuple[str, str, Node]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if operation["tags"][0] == tag:
                yield method.upper(), path, operation


def _navigation(title: str, sections: Mapping[str, Iterable[tuple[str, str, Node]]]) -> Iterator[str]:
    yield f'<nav aria-label="Operations"><h1>{escape(title)}</h1>'
    yield '<input id="search" type="search" placeholder="Search operations" aria-label="Search operations">'
    yield '<div class="sections">'
    for name, operations in sections.items():
        yield f"<h2>{escape(name)}</h2><ul>"
        for _, _, operation in operations:
            yield f'<li><a href="#{operation["operationId"]}">{escape(operation["summary"])}</a></li>'
        yield "</ul>"
    yield '<h2>Reference</h2><ul><li><a href="#schemas">Schemas</a></li></ul></div></nav>'


def _introduction(document: Node) -> Iterator[str]:
    addresses = ", ".join(f"<code>{escape(each['url'])}</code>" for each in document["servers"])
    yield f"<p>Served at {addresses}. Every request but the public ones has <code>Authorization: Bearer</code> and the "
    yield "access token of a login. Success is <code>success: true</code> with <code>data</code>, a list has "
    yield "<code>pagination</code> beside it; a refusal has <code>error</code>, <code>code</code> and "
    yield "<code>details</code>.</p>"


def _section(name: str, operations: Iterable[tuple[str, str, Node]], document: Node) -> Iterator[str]:
    yield f'<section data-section><h2 class="section">{escape(name)}</h2>'
    for method, path, operation in operations:
        yield from _operation(method, path, operation, document)
    yield "</section>"


def _operation(method: str, path: str, operation: Node, document: Node) -> Iterator[str]:
    searched = f"{method} {path} {operation['summary']}".lower()
    yield f'<article id="{operation["operationId"]}" data-search="{escape(searched)}">'
    yield f"<h3>{escape(operation['summary'])}</h3>"
    yield f'<p class="line"><span class="method {method.lower()}">{method}</span> <code>{escape(path)}</code></p>'
    for paragraph in operation.get("description", "").split("\n\n"):
        yield f"<p>{escape(paragraph)}</p>"
    yield from _parameters([_resolved(each, document) for each in operation.get("parameters", [])])
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h4>Request body <span class='soft'>{escape(media)}, {_kind(content['schema'])}</span></h4>"
        yield _example(content)
    yield f'<h4>Call</h4><pre class="curl">{escape(_curl(method, path, operation, document))}</pre>'
    yield from _answers(operation["responses"], document)
    yield "</article>"


def _parameters(parameters: list[Node]) -> Iterator[str]:
    if not parameters:
        return
    yield '<h4>Parameters</h4><div class="wide"><table><tr><th>Name</th><th>In</th><th>Type</th><th>Meaning</th></tr>'
    for each in parameters:
        needed = ", required" if each.get("required") else ""
        yield f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}{needed}</td>"
        yield f"<td>{_kind(each['schema'])}</td><td>{escape(each.get('description', ''))}</td></tr>"
    yield "</table></div>"


def _answers(answers: Mapping[str, Node], document: Node) -> Iterator[str]:
    yield "<h4>Answers</h4>"
    for status, answer in answers.items():
        shown = _resolved(answer, document)
        yield f"<details><summary>{escape(status)} <span class='soft'>{escape(shown['description'])}</span></summary>"
        for media, content in shown.get("content", {}).items():
            yield f"<p class='soft'>{escape(media)}, {_kind(content['schema'])}</p>{_example(content)}"
        yield "</details>"


def _schemas(schemas: Mapping[str, Node]) -> Iterator[str]:
    yield '<h2 class="section" id="schemas">Schemas</h2>'
    for name, schema in sorted(schemas.items()):
        yield f'<article id="schema-{escape(name)}"><h3>{escape(name)}</h3>'
        yield f"<p>{escape(schema.get('description', ''))}</p>"
        required = schema.get("required", [])
        if "properties" in schema:
            yield '<div class="wide"><table><tr><th>Field</th><th>Type</th><th>Meaning</th></tr>'
            for field, each in schema["properties"].items():
                needed = " <span class='soft'>required</span>" if field in required else ""
                yield f"<tr><td><code>{escape(field)}</code>{needed}</td><td>{_kind(each)}</td>"
                yield f"<td>{escape(str(each.get('description', '')))}</td></tr>"
            yield "</table></div>"
        else:
            yield f"<p>{_kind(schema)}</p>"
        yield "</article>"


def _kind(schema: Node) -> str:
    """Return what a schema allows, in one line of HTML."""
    if "$ref" in schema:
        name = escape(str(schema["$ref"]).removeprefix(REFERENCE))
        return f'<a href="#schema-{name}">{name}</a>'
    for key, word in (("anyOf", " or "), ("oneOf", " or "), ("allOf", " with ")):
        if key in schema:
            return word.join(_kind(each) for each in schema[key])
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if values:
        return " or ".join(f"<code>{escape(_text(each))}</code>" for each in values)
    kind = schema.get("type", "anything")
    if kind == "object" and "data" in schema.get("properties", {}):
        return f"<code>data</code>: {_kind(schema['properties']['data'])}"
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return escape(" or ".join(kind) if isinstance(kind, list) else str(kind)) + _bounds(schema)


def _bounds(schema: Node) -> str:
    said = [
        f"{label} {_text(schema[key])}"
        for key, label in (
            ("format", "as"),
            ("minimum", "from"),
            ("maximum", "to"),
            ("minLength", "at least"),
            ("maxLength", "at most"),
            ("default", "default"),
        )
        if schema.get(key) not in (None, "", [], {})
    ]
    return escape(f" ({', '.join(said)})") if said else ""


def _example(content: Node) -> str:
    if "example" not in content:
        return ""
    return f"<pre>{escape(orjson.dumps(content['example'], option=orjson.OPT_INDENT_2).decode())}</pre>"


def _curl(method: str, path: str, operation: Node, document: Node) -> str:
    for each in operation.get("parameters", []):
        if each.get("in") == "path":
            path = path.replace("{" + each["name"] + "}", str(each["example"]))
    asked = [
        f"{each['name']}={each['example']}"
        for each in operation.get("parameters", [])
        if each.get("required") and each.get("in") == "query" and "example" in each
    ]
    url = document["servers"][0]["url"] + path + ("?" + "&".join(asked) if asked else "")
    words = ["curl", *(() if method in _METHODS_WITHOUT_FLAG else ("-X", method)), f"'{url}'"]
    if operation.get("security") != []:
        words.append('-H "Authorization: Bearer $TOKEN"')
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        body = _text(content.get("example", {})).replace("'", "'\\''")
        words.append(f"-H 'Content-Type: {media}' -d '{body}'")
    return " ".join(words)


def _resolved(node: Node, document: Node) -> Node:
    if "$ref" not in node:
        return node
    found: Any = document
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    resolved: Node = found
    return resolved


def _text(value: object) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
