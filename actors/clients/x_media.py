"""Uploading media for direct messages through X's v2 endpoints (x-api, 3.2)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import aiohttp

from actors.clients.x_transport import JsonObject, XAnswer, XApiError
from domain.errors import InvalidContent
from domain.x_errors import FailureKind, XFailure
from domain.x_fields import as_object, x_id

CATEGORIES = frozenset({"dm_image", "dm_gif", "dm_video"})

#: X takes at most 1,000 segments and 512 MB, so a segment must hold over half a megabyte.
SEGMENT_BYTES = 1024 * 1024
_LONGEST_PAUSE_S = 10.0
_MOST_CHECKS = 60


@dataclass(frozen=True, slots=True)
class MediaFile:
    """What is uploaded: an open file of `size` bytes, of which a segment at a time is in memory.

    `category` is `dm_image`, `dm_gif` or `dm_video`: X refuses others in direct messages.
    """

    file: BinaryIO
    size: int
    media_type: str
    category: str

    async def read(self, start: int, length: int) -> bytes:
        """Return a part of the file."""
        return await asyncio.to_thread(self._read, start, length)

    def _read(self, start: int, length: int) -> bytes:
        self.file.seek(start)
        return self.file.read(length)


class UploadCall(Protocol):
    """Makes one signed call of the upload address."""

    async def __call__(
        self,
        method: str,
        route: str,
        *,
        params: Mapping[str, object] | None = None,
        json: object = None,
        form: aiohttp.FormData | None = None,
    ) -> XAnswer:
        """Return the answer, or raise XApiError."""
        ...


async def upload(call: UploadCall, media: MediaFile) -> str:
    """Upload media and return its id once X has processed it.

    Raises:
        InvalidContent: when it is empty or of another category than direct messages take.
        XApiError: when X refuses it, or has not processed it in time.
    """
    if media.category not in CATEGORIES or not media.size:
        raise InvalidContent("Media must have content and one of the categories " + ", ".join(sorted(CATEGORIES)))
    if media.category == "dm_image" and media.size <= SEGMENT_BYTES:
        form = _form(media_category=media.category, media_type=media.media_type)
        content = await media.read(0, SEGMENT_BYTES)
        form.add_field("media", content, filename="media", content_type=media.media_type)
        answer = await call("POST", "/2/media/upload", form=form)
    else:
        answer = await _in_segments(call, media)
    media_id = _id_of(answer)
    await _processed(call, answer, media_id)
    return media_id


async def _in_segments(call: UploadCall, media: MediaFile) -> XAnswer:
    announced = {"media_type": media.media_type, "total_bytes": media.size, "media_category": media.category}
    media_id = _id_of(await call("POST", "/2/media/upload/initialize", json=announced))
    for index, start in enumerate(range(0, media.size, SEGMENT_BYTES)):
        form = _form(segment_index=str(index))
        segment = await media.read(start, SEGMENT_BYTES)
        form.add_field("media", segment, filename="media", content_type="application/octet-stream")
        await call("POST", f"/2/media/upload/{media_id}/append", form=form)
    return await call("POST", f"/2/media/upload/{media_id}/finalize")


async def _processed(call: UploadCall, answer: XAnswer, media_id: str) -> None:
    """Wait until X has processed the media, as long as X says and within a bound."""
    for _ in range(_MOST_CHECKS):
        info = as_object(answer.data().get("processing_info"))
        match info.get("state"):
            case "pending" | "in_progress":
                await asyncio.sleep(_pause(info))
            case "failed":
                raise XApiError(
                    XFailure(FailureKind.MESSAGE, "media_refused", x_text=_reason(info)), x_status=answer.status
                )
            case _:
                return
        answer = await call("GET", "/2/media/upload", params={"command": "STATUS", "media_id": media_id})
    raise XApiError(XFailure(FailureKind.TEMPORARY, "media_not_processed"), x_status=answer.status)


def _form(**fields: str) -> aiohttp.FormData:
    """Return a multipart form; X's upload endpoints take their fields in one."""
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        form.add_field(name, value)
    return form


def _id_of(answer: XAnswer) -> str:
    media_id = x_id(answer.data().get("id"))
    if not media_id:
        raise answer.unreadable()
    return media_id


def _pause(info: JsonObject) -> float:
    seconds = info.get("check_after_secs")
    return min(max(float(seconds), 0.0), _LONGEST_PAUSE_S) if isinstance(seconds, int | float) else 1.0


def _reason(info: JsonObject) -> str:
    error = as_object(info.get("error"))
    told = error.get("message") or error.get("name")
    return told[:500] if isinstance(told, str) else ""
