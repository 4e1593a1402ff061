"""Attachments given as links: fetched from the public web, looked at, uploaded to X.

Who uploads is decided by who waits. Where a person waits for the answer of a send, the gateway does it before the
message is queued (`gateway/sending.py`): a bad link is then a wrong field of the request, and a slow upload takes no
place in the account's queue and no claim on its budget. A message that is queued without waiting, or has waited longer
than X keeps media, is uploaded by the account's actor when its turn comes (`actors/account.py`): the message goes back
to `queued` first, and is claimed again once X has the media. So whatever is cut off during an upload was no send, and
is simply done again; media that was uploaded in vain expires at X.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import BinaryIO
from weakref import WeakValueDictionary

import structlog

from actors.clients.safe_fetch import FetchFailed, SafeAnswer, SafeFetch, SafeRequest, safe_fetch_of
from actors.clients.x_client import XClient
from actors.clients.x_media import MediaFile
from actors.clients.x_transport import XApiError
from config.settings import Settings
from domain.clock import Clock
from domain.errors import InvalidContent, Problem, Unavailable
from domain.media_kinds import HEAD_BYTES, LARGEST, MediaKind, MediaName, media_kind
from domain.outgoing_content import MEDIA_USABLE, LinkAttachment, UploadedMedia
from domain.public_links import LinkRefused
from domain.x_errors import FailureKind, XFailure

log = structlog.get_logger()

FIELD = "attachments.0"
#: Uploads under way at once in one process; each may fill a temporary file of half a gigabyte.
_MOST_AT_ONCE = 8
#: Of these for one merchant, so that nobody's slow links take all places.
_MOST_OF_A_MERCHANT = 2


class AttachmentRefused(InvalidContent):
    """The attachment can't be sent; the problem says which of its fields is wrong, and why."""


class Attachments:
    """Brings files from the web to X; several at once, and never a whole one in memory."""

    def __init__(self, settings: Settings, clock: Clock, fetch: SafeFetch | None = None) -> None:
        self._fetch = fetch or safe_fetch_of(settings)
        self._timeout_s = settings.attachment_timeout_s
        self._clock = clock
        self._places = asyncio.Semaphore(_MOST_AT_ONCE)
        self._of_merchants: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    def check(self, link: LinkAttachment) -> None:
        """Look at a link without following it.

        Raises:
            AttachmentRefused: when it would not be followed.
        """
        try:
            self._fetch.check(link.url)
        except LinkRefused as error:
            raise _refused("url", str(error)) from None

    async def upload(self, link: LinkAttachment, client: XClient, merchant_id: str) -> UploadedMedia:
        """Fetch a link and upload what it leads to, in the name of the client's account, which is the merchant's.

        Raises:
            AttachmentRefused: when the link may not be followed, leads to nothing, or to what X does not take.
            XApiError: when X refuses the file or breaks.
            Unavailable: when there is no room for the file.
        """
        own_places = self._of_merchants.setdefault(merchant_id, asyncio.Semaphore(_MOST_OF_A_MERCHANT))
        async with own_places, self._places:
            with tempfile.TemporaryFile() as file:
                kind, size = await self._download(link, file)
                # X counts from the beginning of the upload.
                until = self._clock.now() + MEDIA_USABLE
                media_id = await client.upload_media(MediaFile(file, size, kind.media_type, kind.category))
        log.info("attachment.uploaded", kind=kind.name, bytes=size)
        return UploadedMedia(id=media_id, until=until)

    async def outcome_of(self, link: LinkAttachment, client: XClient, merchant_id: str) -> UploadedMedia | XFailure:
        """Upload a link's file, and answer what became of it in the words in which X's own refusals are told."""
        try:
            return await self.upload(link, client, merchant_id)
        except XApiError as error:
            return error.failure
        except AttachmentRefused as error:
            return XFailure(FailureKind.MESSAGE, "attachment_refused", x_text=error.problems[0].reason)
        except Unavailable:
            return XFailure(FailureKind.TEMPORARY, "no_room_for_attachment")
        except Exception as error:
            # A boundary: nothing has been sent, and the same would break again.
            log.exception("attachment.broke", error=type(error).__name__)
            return XFailure(FailureKind.MESSAGE, "attachment_broke")

    async def _download(self, link: LinkAttachment, file: BinaryIO) -> tuple[MediaKind, int]:
        try:
            async with self._fetch.open(SafeRequest(link.url, timeout_s=self._timeout_s)) as answer:
                return await _received(answer, link.type, file)
        except (LinkRefused, FetchFailed) as error:
            raise _refused("url", str(error)) from None


async def _received(answer: SafeAnswer, wanted: MediaName, file: BinaryIO) -> tuple[MediaKind, int]:
    """Write an answer's body to a file; returns what it is and its size, known before more than a piece is read."""
    if answer.status != HTTPStatus.OK:
        raise FetchFailed(f"answered {answer.status}")
    if answer.is_compressed:
        raise FetchFailed("is sent compressed")
    head, size, kind = b"", 0, None
    async for chunk in answer.chunks(LARGEST[wanted]):
        if kind is None:
            head += chunk[:HEAD_BYTES]
            if len(head) >= HEAD_BYTES:
                kind = _kind(head, wanted)
        await _on_disk(partial(file.write, chunk))
        size += len(chunk)
    await _on_disk(file.flush)
    if not size:
        raise FetchFailed("is empty")
    return kind or _kind(head, wanted), size


def _kind(head: bytes, wanted: MediaName) -> MediaKind:
    kind = media_kind(head)
    if kind is None:
        raise _refused("url", f"leads to no {wanted} that X takes")
    if kind.name != wanted:
        raise _refused("type", f"is {wanted}, but the file is of the type {kind.name}")
    return kind


async def _on_disk(work: Callable[[], object]) -> None:
    try:
        await asyncio.to_thread(work)
    except OSError as error:
        log.exception("attachment.no_room", error=type(error).__name__)
        raise Unavailable("There is no room for the attachment", retry_after_s=60) from error


def _refused(field: str, reason: str) -> AttachmentRefused:
    return AttachmentRefused("The attachment can't be sent", problems=(Problem(f"{FIELD}.{field}", reason),))
