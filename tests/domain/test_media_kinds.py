from __future__ import annotations

import pytest

from domain.media_kinds import HEAD_BYTES, media_kind


@pytest.mark.parametrize(
    ("head", "name", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "image", "image/png"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "image", "image/jpeg"),
        (b"RIFF\x24\x00\x00\x00WEBPVP8 ", "image", "image/webp"),
        (b"GIF87a\x01\x00", "gif", "image/gif"),
        (b"GIF89a\x01\x00", "gif", "image/gif"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00", "video", "video/mp4"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00", "video", "video/mp4"),
        (b"\x00\x00\x00\x14ftypqt  \x00\x00", "video", "video/quicktime"),
    ],
)
def test_what_x_takes_is_known_by_its_first_bytes(head: bytes, name: str, media_type: str) -> None:
    kind = media_kind(head[:HEAD_BYTES])
    assert kind is not None
    assert (kind.name, kind.media_type, kind.category) == (name, media_type, f"dm_{name}")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"<!doctype html>",
        b"<svg xmlns='http",
        b"%PDF-1.7",
        b"BM\x00\x00",
        b"PK\x03\x04",
        b"RIFF\x24\x00\x00\x00WAVEfmt ",
        b"RIFF\x24\x00\x00\x00AVI LIST",
        b"\x1a\x45\xdf\xa3",
        b"\x00\x00\x00\x18ftypheic\x00\x00",
        b"\x00\x00\x00\x18ftypavif\x00\x00",
        b"\x00\x00\x00\x18ftypM4A \x00\x00",
        b"GIF88a",
        b"\x89PNG",
        b" \x89PNG\r\n\x1a\n",
    ],
)
def test_what_x_does_not_take_is_nothing(head: bytes) -> None:
    assert media_kind(head) is None
