"""What a file is, by its first bytes, and what X takes in direct messages.

Source: X's media pages (x-api, 3.2): images up to 5 MB, gifs 15 MB, videos 512 MB, each in a category of its own; and
the signatures of the formats. Names and headers say nothing reliable of a file, so they are not asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

MediaName: TypeAlias = Literal["image", "gif", "video"]

_MB = 1024 * 1024
#: The largest file of each kind, in bytes.
LARGEST: dict[MediaName, int] = {"image": 5 * _MB, "gif": 15 * _MB, "video": 512 * _MB}
#: As many of a file's first bytes as are needed to know it.
HEAD_BYTES = 16

#: Pictures (HEIC, AVIF) and sound (M4A) come in the same container as videos, under brands of their own.
_MP4_BRANDS = (b"iso", b"mp4", b"avc", b"M4V", b"MSNV", b"dash", b"mmp4")


@dataclass(frozen=True, slots=True)
class MediaKind:
    """A format that X takes; `name` is how the API calls its kind."""

    name: MediaName
    media_type: str

    @property
    def category(self) -> str:
        """X's category of such a file in a direct message."""
        return f"dm_{self.name}"

    @property
    def largest(self) -> int:
        """The largest such file that X takes, in bytes."""
        return LARGEST[self.name]


#: Formats that are known by their beginning alone.
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", MediaKind("image", "image/png")),
    (b"\xff\xd8\xff", MediaKind("image", "image/jpeg")),
    (b"GIF87a", MediaKind("gif", "image/gif")),
    (b"GIF89a", MediaKind("gif", "image/gif")),
)


def media_kind(head: bytes) -> MediaKind | None:
    """Return what a file with these first bytes is; nothing where X does not take it."""
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return MediaKind("image", "image/webp")
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand == b"qt  ":
            return MediaKind("video", "video/quicktime")
        if brand.startswith(_MP4_BRANDS):
            return MediaKind("video", "video/mp4")
    return None
