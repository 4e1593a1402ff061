"""A stand-in for example.com and its like, the only sites that exist for nobody (RFC 2606).

With it, the links of the API's own examples lead to a small file of the kind that their name ends in, and
`/orders/{number}` to what the made-up shop knows of an order; what is posted below `/webhooks` is taken.
"""

from __future__ import annotations

import base64

from aiohttp import web

from sandbox.model.shop import order

_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGOQnf0BAAKBAanNLTV2AAAAAElFTkSuQmCC", validate=True
)
_GIF = base64.b64decode("R0lGODlhAQABAIAAAB2b8P///yH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==", validate=True)
#: The beginnings of a picture and of a video, which nobody looks at any further.
_JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00\xff\xd9"
_MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + b"\x00\x00\x00\x08free"
_PAGE = b"<!doctype html><title>Example</title><p>This site stands in for an example.\n"
_FILES: dict[str, tuple[bytes, str]] = {
    "png": (_PNG, "image/png"),
    "gif": (_GIF, "image/gif"),
    "jpg": (_JPEG, "image/jpeg"),
    "jpeg": (_JPEG, "image/jpeg"),
    "mp4": (_MP4, "video/mp4"),
}


async def _order(request: web.Request) -> web.Response:
    found = order(request.match_info["number"])
    if found.state == "missing":
        return web.json_response({"error": "there is no such order"}, status=web.HTTPNotFound.status_code)
    known = {"orderId": found.number, "status": found.state}
    if found.state != "processing":
        known |= {"shippedOn": f"January {found.shipped}", "expectedOn": f"January {found.due}"}
    return web.json_response(known)


async def _serve(request: web.Request) -> web.Response:
    name = request.match_info["name"].lower()
    body, content_type = _FILES.get(name.rsplit(".", 1)[-1], (_PAGE, "text/html"))
    return web.Response(body=body, content_type=content_type)


async def _take(_request: web.Request) -> web.Response:
    return web.Response(status=web.HTTPNoContent.status_code)


def routes() -> list[web.RouteDef]:
    """Return the routes of the stand-in."""
    return [
        web.get(r"/sandbox/web/orders/{number:\d{1,20}}", _order),
        web.get("/sandbox/web/{name:.*}", _serve),
        web.post("/sandbox/web/webhooks/{name:.*}", _take),
    ]
