"""What a flow's `http_request` calls: its address, headers and body, each filled with what is known of the contact.

They are written in Liquid, as templates are. What fills a gap can't reach beyond it: it is percent-encoded in an
address and a form, escaped as a part of a text in JSON, and has no control characters in a header (CWE-93).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

import orjson

from domain.contact_fields import LONGEST_TEXT
from domain.errors import InvalidContent
from domain.flow_nodes import HttpRequest, Variable
from domain.flow_state import EffectKey
from domain.template_environment import EscapingEnvironment
from domain.templates import Fillings, filled

_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"
#: What the database keeps as a whole number.
_GREATEST = 2**63
#: What says that a call is the same as before (draft-ietf-httpapi-idempotency-key-header).
_IDEMPOTENCY_KEY = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class FilledRequest:
    """A call that is ready to be made."""

    url: str
    method: str
    headers: Mapping[str, str]
    body: bytes | None


def filled_request(action: HttpRequest, fillings: Fillings, key: EffectKey) -> FilledRequest:
    """Return what is called.

    Raises:
        MissingVariable: when nothing fills a variable that is needed.
        InvalidContent: when it can't be made of what fills it.
    """
    headers = {name.lower(): _header(name, filled(value, fillings)) for name, value in action.headers.items()}
    headers.setdefault(_IDEMPOTENCY_KEY.lower(), str(key))
    body = action.body
    if body is not None:
        kind = headers.setdefault("content-type", _JSON if body.lstrip()[:1] in {"{", "["} else "text/plain")
        body = filled(body, fillings, _environment_of(kind))
    return FilledRequest(
        filled(action.url, fillings, _URL), action.method, headers, None if body is None else body.encode()
    )


def result_of(body: bytes, kind: str) -> Variable:
    """Return what an answer is kept as: a number, a boolean or a text where it is just that in JSON, else its text."""
    text = body.decode("utf-8", "replace").strip()
    if "json" in kind.lower():
        try:
            found = orjson.loads(text)
        except orjson.JSONDecodeError:
            return _kept(text)
        if isinstance(found, bool | int | float):
            return found if abs(found) < _GREATEST else _kept(text)
        if isinstance(found, str):
            return _kept(found)
    return _kept(text)


def is_worth_another_try(status: int) -> bool:
    """Whether a call that was answered so may succeed later: the server is too busy, or broken."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
    }


def retry_after(headers: Mapping[str, str]) -> float:
    """Return how many seconds an answer asks to be waited, 0 where it does not say so in seconds."""
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    return float(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0.0  # noqa: PLR2004  # digits


def _header(name: str, value: str) -> str:
    if not value.isprintable() or not value.isascii():
        raise InvalidContent(f"The header {name} would hold what a header can't")
    return value


def _environment_of(kind: str) -> EscapingEnvironment:
    media_type = kind.partition(";")[0].strip().lower()
    if media_type == _FORM:
        return _URL
    return _IN_JSON if media_type == _JSON or media_type.endswith("+json") else _PLAIN


def _kept(text: str) -> str:
    return text[:LONGEST_TEXT]


_URL = EscapingEnvironment(lambda text: quote(text, safe=""))
_IN_JSON = EscapingEnvironment(lambda text: orjson.dumps(text.encode("utf-8", "replace").decode()).decode()[1:-1])
_PLAIN = EscapingEnvironment(lambda text: text)
