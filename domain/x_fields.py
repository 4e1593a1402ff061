"""Reading single fields of X's events: ids, times, texts, profiles, and keys for what has no id.

X's events are signed but still untrusted: every reader takes any object and answers with a value that is
safe to store, or with nothing; none raises.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import orjson

from domain.errors import InvalidRequest
from domain.events import EventKind, Profile, XEvent

INBOUND = "inbound"
OUTBOUND = "outbound"

_is_id = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_is_family = re.compile(r"[A-Za-z0-9_.]{1,100}").fullmatch

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = 1000
_FIRST_MS = 1_136_073_600_000  # 2006, the year X began
_LAST_MS = 4_102_444_800_000  # 2100
_MOST_MS_DIGITS = 13
_LARGEST_ID = 2**63
_LONGEST_NAME = 1000
_LONGEST_ADDRESS = 4096
_LONGEST_TIME = 64

JsonObject = dict[str, object]


class UnknownEnvelope(InvalidRequest):
    """A body that is signed but is not the JSON of a known envelope."""


@dataclass(slots=True)
class Scope:
    """What all events of one envelope share.

    `for_user` is the X id of the account, empty where the envelope does not name it; `sends` then says on which side
    of a message the account is.
    """

    for_user: str
    users: JsonObject
    received_at: datetime
    sends: bool = False


def as_object(value: object) -> JsonObject:
    """Return a JSON object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def unwrapped(value: object) -> JsonObject:
    """Return a user object, bare or wrapped in `data` (x-activity events wrap some)."""
    user = as_object(value)
    inner = user.get("data")
    return inner if isinstance(inner, dict) else user


def x_id(value: object) -> str:
    """Return an id as text, or "" when it is none; numbers are taken where they can't have been rounded to a float."""
    if isinstance(value, str):
        return value if _is_id(value) else ""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST_ID:
        return str(value)
    return ""


def own_id(value: JsonObject) -> str:
    """Return an object's own id; `id_str` before `id`, which X rounds in some places."""
    return x_id(value.get("id_str")) or x_id(value.get("id"))


def storable(text: str) -> bool:
    """Say whether a text can be written as UTF-8 (lone surrogates can't)."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def milliseconds(value: object, otherwise: datetime) -> datetime:
    """Return the moment of a Unix time in milliseconds (text or number), or another where that is missing or absurd."""
    if isinstance(value, str):
        if len(value) > _MOST_MS_DIGITS or not (value.isascii() and value.isdigit()):
            return otherwise
        value = int(value)
    if isinstance(value, int) and _FIRST_MS <= value < _LAST_MS:
        return datetime.fromtimestamp(value / _MS, UTC)
    return otherwise


def written_time(value: object) -> datetime | None:
    """Return the moment of an ISO 8601 or a v1.1 date (`Mon Nov 02 10:00:00 +0000 2026`), in whole milliseconds."""
    if not isinstance(value, str) or len(value) > _LONGEST_TIME:
        return None
    moment = _parsed(value, datetime.fromisoformat) or _parsed(value, _from_v1)
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    elapsed = (moment - _EPOCH) // timedelta(milliseconds=1)
    return _EPOCH + timedelta(milliseconds=elapsed) if _FIRST_MS <= elapsed < _LAST_MS else None


def _from_v1(text: str) -> datetime:
    return datetime.strptime(text, "%a %b %d %H:%M:%S %z %Y")


def _parsed(text: str, parse: Callable[[str], datetime]) -> datetime | None:
    try:
        return parse(text)
    except ValueError:
        return None


def address(value: object) -> str:
    """Return an http(s) address, or "" when it is none."""
    if (
        isinstance(value, str)
        and value.startswith(("https://", "http://"))
        and len(value) <= _LONGEST_ADDRESS
        and storable(value)
    ):
        return value
    return ""


def profile_of(user: JsonObject) -> Profile:
    """Return what a user object of any of X's shapes says of a person."""
    profile: Profile = {}
    username = user.get("screen_name") or user.get("username")
    if isinstance(username, str) and len(username) <= _LONGEST_NAME and storable(username):
        profile["username"] = username
    name = user.get("name")
    if isinstance(name, str) and name and len(name) <= _LONGEST_NAME and storable(name):
        profile["displayName"] = name
    image = address(user.get("profile_image_url_https")) or address(user.get("profile_image_url"))
    if image:
        profile["profileImageUrl"] = image
    return profile


def told_moment(value: object) -> str:
    """Return the text of a moment as X wrote it, for use in a key; "" where there is none."""
    return x_id(value)


def sides_of(sender: str, recipient: str, scope: Scope) -> tuple[str, str, str] | None:
    """Tell the account, the other person and the direction; None where the account is neither."""
    if not sender or not recipient:
        return None
    for_user = scope.for_user or (sender if scope.sends else recipient)
    if sender == for_user:
        return for_user, recipient, OUTBOUND
    if recipient == for_user:
        return for_user, sender, INBOUND
    return None


def content_key(prefix: str, for_user: str, *parts: str) -> str:
    """Return the key of an event that has no id: prefix, account and a digest of its parts."""
    return f"{prefix}:{for_user}:{_digest(chr(10).join(parts).encode())}"


def unknown(family: object, item: object, scope: Scope) -> XEvent:
    """Keep what can't be read: `data` holds `family` and, as JSON text, `raw`.

    Text, because the database refuses some JSON (whole numbers over 64 bits, deep nesting, null bytes in names), and
    an event that can't be stored would come back for ever.

    Raises:
        UnknownEnvelope: when it is nested more deeply than JSON can be written.
    """
    raw = _canonical(item)
    name = family if isinstance(family, str) and _is_family(family) else ""
    return XEvent(
        key=f"unknown:{scope.for_user}:{_digest(name.encode() + raw)}",
        kind=EventKind.UNKNOWN,
        for_user_id=scope.for_user,
        participant_id="",
        at=scope.received_at,
        data={"family": name, "raw": raw.decode()},
    )


def _canonical(item: object) -> bytes:
    try:
        return orjson.dumps(item, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # Numbers over 64 bits, lone surrogates, or nesting beyond orjson's.
        try:
            return json.dumps(item, sort_keys=True).encode()
        except (RecursionError, TypeError, ValueError):
            raise UnknownEnvelope("the body is nested too deeply") from None


def _digest(content: bytes) -> str:
    return urlsafe_b64encode(sha256(content).digest()).rstrip(b"=").decode()
