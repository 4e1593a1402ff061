"""Media upload: v2 (one shot, and initialize, append, finalize, status) and v1.1 (one shot, and commands)."""

from __future__ import annotations

import binascii
from dataclasses import dataclass, field

from aiohttp import BodyPartReader, web

from sandbox.body import answer, as_text
from sandbox.endpoint import Call, Endpoint
from sandbox.media import Media, WrongMedia
from sandbox.problems import Refusal, invalid_request, v1_refusal


@dataclass(slots=True)
class _Upload:
    """A request's fields from query, form, multipart or JSON, and how many bytes of media it carries."""

    fields: dict[str, str] = field(default_factory=dict)
    size: int = 0

    def number(self, name: str) -> int:
        text = self.fields.get(name, "")
        return int(text) if text.isdecimal() else -1


def _refusal(call: Call, wrong: WrongMedia) -> Refusal:
    if call.classic:
        return v1_refusal(324, str(wrong))
    return invalid_request(str(wrong), "media")


async def _read(call: Call) -> _Upload:
    """Read the request in whichever of the four ways it comes.

    Raises:
        Refusal: 400, base64 that is none.
    """
    request = call.request
    upload = _Upload(dict(request.query))
    if request.content_type.startswith("multipart/"):
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                continue
            raw = await part.read(decode=False)
            if part.name == "media":
                upload.size = len(raw)
            else:
                upload.fields[part.name or ""] = bytes(raw).decode("utf-8", "replace")
    elif request.content_type == "application/json":
        upload.fields.update({name: as_text(value) for name, value in (await call.json()).items()})
    else:
        form = await request.post()
        upload.fields.update({name: value for name, value in form.items() if isinstance(value, str)})
    encoded = upload.fields.get("media_data") or upload.fields.get("media")
    if encoded:
        try:
            upload.size = len(binascii.a2b_base64(encoded, strict_mode=True))
        except binascii.Error:
            raise _refusal(call, WrongMedia("media is not base64")) from None
    return upload


def _shown(call: Call, media: Media) -> web.Response:
    return answer(media.v1()) if call.classic else answer({"data": media.v2()})


async def upload(call: Call) -> web.Response:
    """POST /2/media/upload and /1.1/media/upload.json: one shot, or one of the commands INIT, APPEND, FINALIZE."""
    given = await _read(call)
    store, owner = call.world.media, call.sender.id
    try:
        match given.fields.get("command", "").upper():
            case "":
                category = given.fields.get("media_category", "tweet_image")
                media = store.begin(
                    owner,
                    category=category,
                    media_type=given.fields.get("media_type", ""),
                    total_bytes=given.size,
                )
                media.segments[0] = given.size
                store.finish(media)
                return _shown(call, media)
            case "INIT":
                return _begin(call, given)
            case "APPEND":
                store.append(
                    store.of(owner, given.fields.get("media_id", "")), given.number("segment_index"), given.size
                )
                return web.Response(status=204)
            case "FINALIZE":
                media = store.of(owner, given.fields.get("media_id", ""))
                store.finish(media)
                return _shown(call, media)
            case _:
                pass
    except WrongMedia as wrong:
        raise _refusal(call, wrong) from None
    raise _refusal(call, WrongMedia("command must be INIT, APPEND or FINALIZE"))


def _begin(call: Call, given: _Upload) -> web.Response:
    media = call.world.media.begin(
        call.sender.id,
        category=given.fields.get("media_category", "tweet_image"),
        media_type=given.fields.get("media_type", ""),
        total_bytes=given.number("total_bytes"),
    )
    return _shown(call, media)


async def initialize(call: Call) -> web.Response:
    """POST /2/media/upload/initialize."""
    given = await _read(call)
    try:
        return _begin(call, given)
    except WrongMedia as wrong:
        raise _refusal(call, wrong) from None


async def append(call: Call) -> web.Response:
    """POST /2/media/upload/:id/append."""
    given = await _read(call)
    try:
        media = call.world.media.of(call.sender.id, call.part("media_id"))
        call.world.media.append(media, given.number("segment_index"), given.size)
    except WrongMedia as wrong:
        raise _refusal(call, wrong) from None
    return answer({"data": {"expires_at": call.world.now_ms() // 1000 + 86_400}})


async def finalize(call: Call) -> web.Response:
    """POST /2/media/upload/:id/finalize."""
    try:
        media = call.world.media.of(call.sender.id, call.part("media_id"))
        call.world.media.finish(media)
    except WrongMedia as wrong:
        raise _refusal(call, wrong) from None
    return _shown(call, media)


async def status(call: Call) -> web.Response:
    """GET …/media/upload?command=STATUS&media_id=…; each look moves the processing on."""
    try:
        media = call.world.media.of(call.sender.id, call.request.query.get("media_id", ""))
    except WrongMedia as wrong:
        raise _refusal(call, wrong) from None
    call.world.media.poll(media)
    return _shown(call, media)


ENDPOINTS = (
    Endpoint("POST", "/2/media/upload", "user", "media.upload", upload),
    Endpoint("GET", "/2/media/upload", "user", "media.status", status),
    Endpoint("POST", "/2/media/upload/initialize", "user", "media.chunk", initialize),
    Endpoint("POST", "/2/media/upload/{media_id:[0-9]+}/append", "user", "media.chunk", append),
    Endpoint("POST", "/2/media/upload/{media_id:[0-9]+}/finalize", "user", "media.chunk", finalize),
    Endpoint("POST", "/1.1/media/upload.json", "user", "media.upload", upload),
    Endpoint("GET", "/1.1/media/upload.json", "user", "media.status", status),
)
