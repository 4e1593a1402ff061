"""Attachments of direct messages as X describes them (x-api, 2.1)."""

from __future__ import annotations

from domain.events import Attachment
from domain.x_fields import JsonObject, address, as_object, own_id

_MEDIA_TYPES = frozenset({"photo", "video", "animated_gif"})
_MEDIA_PAGES = tuple(
    f"https://{host}/messages/media/" for host in ("twitter.com", "x.com", "www.twitter.com", "www.x.com")
)
_HIGHEST_LATITUDE = 90
_HIGHEST_LONGITUDE = 180


def attachment_of(value: object) -> Attachment:
    """Describe an attachment; one that can't be read is of the type `unknown`, so that it is still seen to be there."""
    described = as_object(value)
    match described.get("type"):
        case "media":
            return _media(as_object(described.get("media")))
        case "location":
            return _location(as_object(described.get("location")))
        case _:
            return {"type": "unknown"}


def without_media_link(text: str, content: JsonObject) -> str:
    """Return a text without the t.co link to its own media that X appends to it."""
    link = text[text.rfind(" ") + 1 :].strip()
    if not link.startswith(("https://", "http://")):
        return text
    media = as_object(as_object(content.get("attachment")).get("media"))
    if media.get("url") == link or _is_media_link(link, content):
        return text[: text.rindex(link)].rstrip()
    return text


def _is_media_link(link: str, content: JsonObject) -> bool:
    urls = as_object(content.get("entities")).get("urls")
    for entity in urls if isinstance(urls, list) else ():
        target = as_object(entity).get("expanded_url")
        if as_object(entity).get("url") == link and isinstance(target, str) and target.startswith(_MEDIA_PAGES):
            return True
    return False


def _media(media: JsonObject) -> Attachment:
    kind = media.get("type")
    attachment: Attachment = {"type": kind if isinstance(kind, str) and kind in _MEDIA_TYPES else "unknown"}
    if media_id := own_id(media):
        attachment["mediaId"] = media_id
    if url := address(media.get("url")):
        attachment["url"] = url
    picture = address(media.get("media_url_https")) or address(media.get("media_url"))
    if media_url := _best_video(as_object(media.get("video_info"))) or picture:
        attachment["mediaUrl"] = media_url
    return attachment


def _best_video(video_info: JsonObject) -> str:
    """Return the address of the MP4 variant with the highest bit rate, or ""."""
    best, best_rate = "", -1.0
    variants = video_info.get("variants")
    for value in variants if isinstance(variants, list) else ():
        variant = as_object(value)
        rate = variant.get("bitrate", 0)
        url = address(variant.get("url"))
        if url and variant.get("content_type") == "video/mp4" and isinstance(rate, int | float) and rate > best_rate:
            best, best_rate = url, rate
    return best


def _location(location: JsonObject) -> Attachment:
    attachment: Attachment = {"type": "location"}
    point = as_object(as_object(location.get("shared_coordinate")).get("coordinates")).get("coordinates")
    match point:
        case [float() | int() as longitude, float() | int() as latitude] if (
            abs(latitude) <= _HIGHEST_LATITUDE and abs(longitude) <= _HIGHEST_LONGITUDE
        ):
            attachment["latitude"] = float(latitude)
            attachment["longitude"] = float(longitude)
        case _:
            pass
    if url := address(as_object(as_object(location.get("shared_place")).get("place")).get("url")):
        attachment["url"] = url
    return attachment
