"""The recipients of a campaign as CSV, made while it is sent: there may be a million of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import structlog
from aiohttp import web
from pymongo.errors import PyMongoError

from gateway.csv_cells import Cell, csv_lines, sheet_headers
from gateway.dependencies import Repositories
from storage.campaign_documents import RecipientDocument
from storage.campaign_reports import RecipientFilter
from storage.contacts import ContactName

log = structlog.get_logger()

COLUMNS = (
    "contactId",
    "username",
    "displayName",
    "accountId",
    "runId",
    "variant",
    "status",
    "reason",
    "messageId",
    "attempt",
    "dueAt",
    "sentAt",
    "openedAt",
    "clickedAt",
    "repliedAt",
    "optedOutAt",
    "blockedAt",
    "createdAt",
)
_NOBODY = ContactName(username=None, displayName=None)


def is_csv_asked_for(format_: str | None, accept: str) -> bool:
    """Whether CSV is to be answered: `format` decides, and without it the header `Accept`."""
    if format_ is not None:
        return format_ == "csv"
    kinds = [kind.split(";")[0].strip().lower() for kind in accept.split(",")]
    return "text/csv" in kinds and "application/json" not in kinds


async def send_sheet(
    request: web.Request, repositories: Repositories, merchant_id: str, campaign_id: str, wanted: RecipientFilter
) -> web.StreamResponse:
    """Answer a request with all recipients that are asked for.

    Where it can't be brought to an end the connection is broken off: a part of a sheet must not look like a whole one.
    """
    response = web.StreamResponse(headers=sheet_headers(f"recipients-{campaign_id}"))
    await response.prepare(request)
    try:
        async for lines in _lines(repositories, merchant_id, campaign_id, wanted):
            await response.write(lines.encode())
        await response.write_eof()
    except ConnectionResetError:
        log.debug("recipient_sheet.client_gone", campaign_id=campaign_id)
    except PyMongoError as error:
        log.warning("recipient_sheet.broken_off", campaign_id=campaign_id, error=type(error).__name__)
        if request.transport is not None:
            request.transport.abort()
    return response


async def _lines(
    repositories: Repositories, merchant_id: str, campaign_id: str, wanted: RecipientFilter
) -> AsyncIterator[str]:
    yield csv_lines([COLUMNS])
    async for recipients in repositories.campaign_reports.every_recipient(merchant_id, campaign_id, wanted):
        names = await repositories.contacts.names(merchant_id, {each["contactId"] for each in recipients})
        yield csv_lines(_row(each, names.get(each["contactId"], _NOBODY)) for each in recipients)


def _row(recipient: RecipientDocument, name: ContactName) -> list[Cell]:
    return [
        recipient["contactId"],
        name["username"],
        name["displayName"],
        recipient["accountId"],
        recipient["runId"],
        recipient["variant"],
        recipient["status"],
        recipient["reason"],
        recipient["messageId"],
        recipient["attempt"],
        recipient["dueAt"],
        recipient["sentAt"],
        recipient["openedAt"],
        recipient["clickedAt"],
        recipient["repliedAt"],
        recipient["optedOutAt"],
        recipient["blockedAt"],
        recipient["createdAt"],
    ]
