"""Files to be uploaded, and the first bytes of every format."""

from __future__ import annotations

from io import BytesIO

from actors.clients.x_media import MediaFile

PNG = b"\x89PNG\r\n\x1a\n" + bytes(24)
JPEG = b"\xff\xd8\xff\xe0" + bytes(24)
WEBP = b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(16)
GIF = b"GIF89a" + bytes(24)
MP4 = b"\x00\x00\x00\x18ftypisom" + bytes(24)


def media_file(content: bytes, media_type: str, category: str) -> MediaFile:
    return MediaFile(BytesIO(content), len(content), media_type, category)
