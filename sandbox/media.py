"""Uploaded media: categories, sizes, processing, and who may attach it.

Source: X's media pages: images up to 5 MB, gifs 15 MB, videos 512 MB; a message takes one item that the same user
uploaded within 24 hours in one of the `dm_` categories.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sandbox.body import JsonObject
from sandbox.clock import DAY_MS, Clock, millis
from sandbox.snowflake import Snowflakes

_MB = 1024 * 1024
#: category -> (largest size in bytes, what a message's attachment calls it).
CATEGORIES: dict[str, tuple[int, str]] = {
    "dm_image": (5 * _MB, "photo"),
    "dm_gif": (15 * _MB, "animated_gif"),
    "dm_video": (512 * _MB, "video"),
    "tweet_image": (5 * _MB, "photo"),
    "tweet_gif": (15 * _MB, "animated_gif"),
    "tweet_video": (512 * _MB, "video"),
}
LARGEST_SEGMENT = 5 * _MB
LAST_SEGMENT = 999
_EXPIRES_S = DAY_MS // 1000
_MEDIA_TYPES = {"image": "image/", "gif": "image/gif", "video": "video/"}


class WrongMedia(Exception):
    """An upload or an attachment is refused; the text says why."""


@dataclass(slots=True)
class Media:
    """One item; `state` moves on with each time its status is asked for."""

    id: str
    owner_id: str
    category: str
    media_type: str
    total_bytes: int
    created_ms: int
    segments: dict[int, int] = field(default_factory=dict)
    state: Literal["receiving", "pending", "in_progress", "succeeded"] = "receiving"

    @property
    def size(self) -> int:
        """Bytes received."""
        return sum(self.segments.values())

    @property
    def message_type(self) -> str:
        """What a message's attachment calls it."""
        return CATEGORIES[self.category][1]

    def processing(self) -> JsonObject | None:
        """Return X's `processing_info`; None for what needs no processing."""
        if self.category.endswith("image") or self.state == "receiving":
            return None
        if self.state == "succeeded":
            return {"state": "succeeded", "progress_percent": 100}
        return {"state": self.state, "check_after_secs": 1, "progress_percent": 0 if self.state == "pending" else 50}

    def v2(self) -> JsonObject:
        """Return the item as v2 shows it."""
        body: JsonObject = {
            "id": self.id,
            "media_key": f"3_{self.id}",
            "size": self.size,
            "expires_after_secs": _EXPIRES_S,
        }
        return _with_processing(body, self)

    def v1(self) -> JsonObject:
        """Return the item as v1.1 shows it."""
        body: JsonObject = {
            "media_id": int(self.id),
            "media_id_string": self.id,
            "size": self.size,
            "expires_after_secs": _EXPIRES_S,
        }
        return _with_processing(body, self)


def _with_processing(body: JsonObject, media: Media) -> JsonObject:
    processing = media.processing()
    return body if processing is None else {**body, "processing_info": processing}


class MediaStore:
    """What was uploaded; only sizes are kept, not the bytes."""

    def __init__(self, clock: Clock, ids: Snowflakes) -> None:
        self._clock = clock
        self._ids = ids
        self._items: dict[str, Media] = {}

    def begin(self, owner_id: str, *, category: str, media_type: str, total_bytes: int) -> Media:
        """Announce an upload.

        Raises:
            WrongMedia: unknown category, a type that does not fit it, or too many bytes.
        """
        if category not in CATEGORIES:
            raise WrongMedia(f"media_category must be one of {', '.join(CATEGORIES)}")
        wanted = _MEDIA_TYPES[category.split("_", 1)[1]]
        if media_type and not media_type.startswith(wanted):
            raise WrongMedia(f"media type {media_type} does not fit {category}")
        largest = CATEGORIES[category][0]
        if not 0 < total_bytes <= largest:
            raise WrongMedia(f"File size must be between 1 and {largest} bytes")
        media = Media(self._ids.next(), owner_id, category, media_type, total_bytes, millis(self._clock))
        self._items[media.id] = media
        return media

    def of(self, owner_id: str, media_id: str) -> Media:
        """Return an item of this uploader.

        Raises:
            WrongMedia: there is none.
        """
        media = self._items.get(media_id)
        if media is None or media.owner_id != owner_id:
            raise WrongMedia("A media id was not found.")
        return media

    def append(self, media: Media, segment: int, size: int) -> None:
        """Take one segment.

        Raises:
            WrongMedia: finished already, segment out of range or empty, or more than was announced.
        """
        if media.state != "receiving":
            raise WrongMedia("the upload is finished")
        if not 0 <= segment <= LAST_SEGMENT or not 0 < size <= LARGEST_SEGMENT:
            raise WrongMedia(f"segment_index must be 0-{LAST_SEGMENT} and a segment 1-{LARGEST_SEGMENT} bytes")
        media.segments[segment] = size
        if media.size > media.total_bytes:
            raise WrongMedia("more bytes than announced")

    def finish(self, media: Media) -> None:
        """End the upload; images can be used at once, others are processed first.

        Raises:
            WrongMedia: segments are missing.
        """
        if media.size != media.total_bytes or sorted(media.segments) != list(range(len(media.segments))):
            raise WrongMedia("segments do not add up to the announced size")
        media.state = "succeeded" if media.category.endswith("image") else "pending"

    def poll(self, media: Media) -> None:
        """Somebody asked for the status: processing gets one step further."""
        if media.state == "pending":
            media.state = "in_progress"
        elif media.state == "in_progress":
            media.state = "succeeded"

    def attachable(self, owner_id: str, media_id: str) -> Media:
        """Return an item that this user may attach to a message.

        Raises:
            WrongMedia: not this user's, expired, not processed yet.
            NotForMessages: uploaded for posts.
        """
        media = self.of(owner_id, media_id)
        if millis(self._clock) - media.created_ms > DAY_MS:
            raise WrongMedia("A media id was not found.")
        if not media.category.startswith("dm_"):
            raise NotForMessages
        if media.state != "succeeded":
            raise WrongMedia("The media is not ready.")
        return media


class NotForMessages(WrongMedia):
    """The item was uploaded in a category for posts."""

    def __init__(self) -> None:
        super().__init__("You are not permitted to attach this media to a DM event.")
