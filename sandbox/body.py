"""Reading and writing JSON bodies."""

from __future__ import annotations

import orjson
from aiohttp import web

JsonObject = dict[str, object]


def dump(value: object) -> bytes:
    """Write `value` as compact JSON."""
    return orjson.dumps(value)


def answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Build a JSON response."""
    return web.Response(body=dump(value), status=status, headers=headers, content_type="application/json")


def as_object(value: object) -> JsonObject:
    """Return `value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """Return `value` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: object, default: str = "") -> str:
    """Return `value` as text if it is text or a whole number, else `default`."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return default


def as_number(value: object, default: float = 0) -> float:
    """Return `value` if it is a number, else `default`."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else default


async def read_object(request: web.Request) -> JsonObject | None:
    """Read a request's body as a JSON object; None when it is something else. An empty body is an empty object."""
    raw = await request.read()
    if not raw:
        return {}
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
