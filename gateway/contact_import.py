"""Importing contacts: a job in the background, safe to be cut off and begun again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog

from domain.errors import Conflict, InvalidContent, Problem
from domain.ids import new_id
from gateway.contact_changes import add, change, check_account, consent_of
from gateway.contact_rows import failed, read_rows
from gateway.dependencies import Dependencies
from gateway.models.contacts import ContactRow
from storage.contact_imports import ContactImports, ImportDocument, ImportRow, NewImport, RowResult
from storage.contacts import ContactChange, NewContact

log = structlog.get_logger()

_BATCH = 200
_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What is to be imported into which account; the id makes a repeated request the same import."""

    id: str
    account_id: str
    user_id: str
    form: Literal["csv", "jsonl"]
    content: str


async def begin_import(deps: Dependencies, merchant_id: str, request: ImportRequest) -> ImportDocument | None:
    """Store an import, start it in the background and return it.

    Raises:
        InvalidContent: when the merchant has no such account, or the content as a whole can't be read.
    """
    await check_account(deps, merchant_id, request.account_id)
    now, imports = deps.clock.now(), ContactImports(deps.database)
    # Ten thousand rows take a while to check; others are served meanwhile.
    rows = await asyncio.to_thread(read_rows, request.form, request.content)
    right = [_stored(number, row, now) for number, row in rows.right.items()]
    new = NewImport(request.id, request.account_id, request.user_id, right, rows.wrong)
    await imports.begin(merchant_id, new, now)
    deps.background.start("contact_import", carry_out(deps, merchant_id, request.id))
    return await imports.get(merchant_id, request.id)


async def get_import(deps: Dependencies, merchant_id: str, import_id: str) -> ImportDocument | None:
    """Return an import; one that nobody works on any more is taken up again."""
    job = await ContactImports(deps.database).get(merchant_id, import_id)
    if job is not None and job["status"] == "running" and job["leaseUntil"] <= deps.clock.now():
        deps.background.start("contact_import", carry_out(deps, merchant_id, import_id))
    return job


async def resume_imports(deps: Dependencies) -> None:
    """Take up what nobody works on any more: a process died, or could not reach the database."""
    for merchant_id, import_id in await ContactImports(deps.database).unfinished(deps.clock.now()):
        deps.background.start("contact_import", carry_out(deps, merchant_id, import_id))


async def carry_out(deps: Dependencies, merchant_id: str, import_id: str) -> None:
    """Carry out the rows of an import that are to be done, unless somebody else does."""
    imports = ContactImports(deps.database)
    job = await imports.get(merchant_id, import_id)
    until = await imports.lease(merchant_id, import_id, deps.clock.now())
    if job is None or until is None:
        return
    try:
        while rows := await imports.next_rows(merchant_id, import_id, _BATCH):
            results = await _carry_out_rows(deps, job, rows)
            until = await imports.done(merchant_id, import_id, results, deps.clock.now())
        await imports.complete(merchant_id, import_id, deps.clock.now())
    finally:
        # Also of a process that stops in the middle: the next one need not wait for the lease to end.
        await imports.release(merchant_id, import_id, until, deps.clock.now())
    log.info("contacts.imported", import_id=import_id, rows=job["total"])


async def _carry_out_rows(deps: Dependencies, job: ImportDocument, rows: Sequence[ImportRow]) -> list[RowResult]:
    results: list[RowResult] = []
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        results += await asyncio.gather(
            *(_carry_out_row(deps, job["merchantId"], job["accountId"], row) for row in part)
        )
    return results


async def _carry_out_row(deps: Dependencies, merchant_id: str, account_id: str, row: ImportRow) -> RowResult:
    new = NewContact(
        id=row["contactId"],
        account_id=account_id,
        twitter_user_id=row["twitterUserId"],
        source="import",
        username=row["username"],
        display_name=row["displayName"],
        tags=row["tags"],
        attributes=row["attributes"],
        consent=row["consent"] or consent_of(None, deps.clock.now()),
    )
    try:
        await add(deps, merchant_id, new)
    except Conflict:
        return await _update(deps, merchant_id, account_id, row)
    return RowResult(row=row["row"], status="created", contactId=row["contactId"], field=None, reason=None)


async def _update(deps: Dependencies, merchant_id: str, account_id: str, row: ImportRow) -> RowResult:
    """Add what a row says to the contact that the account has; its username is X's to change."""
    contacts, now = deps.repositories.contacts, deps.clock.now()
    contact_id = await contacts.by_twitter_user(merchant_id, account_id, row["twitterUserId"])
    wanted = ContactChange(
        display_name=row["displayName"], attributes=row["attributes"], added_tags=tuple(dict.fromkeys(row["tags"]))
    )
    try:
        if contact_id is None or await change(deps, merchant_id, contact_id, wanted) is None:
            return failed(row["row"], None, "the contact was erased at this moment")
    except (InvalidContent, Conflict) as error:
        problem = error.problems[0] if error.problems else Problem("", error.message)
        return failed(row["row"], problem.field or None, problem.reason)
    if row["consent"] is not None:
        taken_back = row.get("takesBackOptOut", False)
        await contacts.set_consent(merchant_id, contact_id, row["consent"], now, takes_back_opt_out=taken_back)
    return RowResult(row=row["row"], status="updated", contactId=contact_id, field=None, reason=None)


def _stored(number: int, row: ContactRow, now: datetime) -> ImportRow:
    return ImportRow(
        row=number,
        contactId=new_id(),
        twitterUserId=row.twitter_user_id,
        username=row.username,
        displayName=row.display_name,
        tags=row.tags,
        attributes=row.checked_attributes,
        consent=None if row.consent is None else consent_of(row.consent, now, row.consent_source),
        takesBackOptOut=row.consent_source is not None,
    )
