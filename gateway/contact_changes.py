"""What people and programs do to contacts (contract, part 5, "Contacts")."""

from __future__ import annotations

from datetime import datetime

from domain.errors import InvalidContent, NotFound, Problem
from domain.flow_triggers import OnNewContact, OnTagAdded
from domain.ids import new_id
from gateway.dependencies import Dependencies
from gateway.models.contacts import ConsentInput
from gateway.principal import Principal
from storage.client import Session, session_of
from storage.contact_erasure import ContactErasures
from storage.contact_merge import ContactMerges
from storage.contacts import Consent, ContactChange, ContactDocument, NewContact
from storage.flow_starts import FlowStarts, contact_made, tags_added


async def create(deps: Dependencies, merchant_id: str, new: NewContact) -> ContactDocument:
    """Make a user of X known to one of the merchant's accounts, connected or not.

    Raises:
        InvalidContent: when the merchant has no such account.
        Conflict: when the account knows the user.
    """
    await check_account(deps, merchant_id, new.account_id)
    return await add(deps, merchant_id, new)


async def add(deps: Dependencies, merchant_id: str, new: NewContact) -> ContactDocument:
    """Store a contact and start the flows that this starts: both or neither.

    Raises:
        Conflict: when the account knows the user.
    """
    contacts, starts, now = deps.repositories.contacts, FlowStarts(deps.database), deps.clock.now()
    if not await starts.concern(merchant_id, {OnNewContact.kind, OnTagAdded.kind}):
        return await contacts.add(merchant_id, new, now)

    async def work(session: Session) -> ContactDocument:
        # It is there already where a request is repeated: nothing has happened to it now.
        contact = await contacts.get(merchant_id, new.id, session)
        if contact is None:
            contact = await contacts.add(merchant_id, new, now, session)
            await starts.happened(contact, contact_made(contact["tags"]), "made", now, session=session)
        return contact

    async with session_of(deps.database.client) as session:
        return await session.with_transaction(work)


async def change(
    deps: Dependencies, merchant_id: str, contact_id: str, wanted: ContactChange
) -> ContactDocument | None:
    """Change a contact and start the flows that its new tags start, both or neither; return it, if the merchant has it.

    Raises:
        InvalidContent: when it would have too many attributes or tags, or take an opt-out back in passing.
        Conflict: when others change its name all the time.
    """
    contacts, starts, now = deps.repositories.contacts, FlowStarts(deps.database), deps.clock.now()
    if not wanted.added_tags or not await starts.concern(merchant_id, {OnTagAdded.kind}):
        return await contacts.change(merchant_id, contact_id, wanted, now)

    async def work(session: Session) -> ContactDocument | None:
        known = await contacts.get(merchant_id, contact_id, session)
        changed = await contacts.change(merchant_id, contact_id, wanted, now, session)
        if known is not None and changed is not None:
            # Each time a tag is added is a time of its own: it may have been removed in between.
            key = f"tagged|{new_id()}"
            await starts.happened(changed, tags_added(known["tags"], changed["tags"]), key, now, session=session)
        return changed

    async with session_of(deps.database.client) as session:
        return await session.with_transaction(work)


async def check_account(deps: Dependencies, merchant_id: str, account_id: str) -> None:
    """Check that the merchant has an account.

    Raises:
        InvalidContent: when it has not.
    """
    if await deps.repositories.accounts.get(merchant_id, account_id) is None:
        problem = Problem("accountId", "is no account of this merchant")
        raise InvalidContent("There is no such account", problems=(problem,))


def consent_of(given: ConsentInput | None, now: datetime, source: str | None = None) -> Consent:
    """Return what a contact agreed to as it is stored: none has neither time nor source.

    `source` says how that is known, where it is said beside the consent.
    """
    if given is None or given.state == "none":
        return Consent(state="none", at=None, source=None)
    return Consent(state=given.state, at=given.at or now, source=source or given.source)


async def merge(deps: Dependencies, caller: Principal, kept_id: str, other_id: str) -> ContactDocument:
    """Let one contact take up another, with everything that is held about it, and return it.

    Raises:
        NotFound: when the merchant does not have the contact that is to be kept.
        InvalidContent: when it does not have the other one, both are the same, or they hold too much to be one.
        Conflict: when one of them is being erased or merged at this moment.
    """
    merges = ContactMerges(deps.database)
    kept = await merges.merge(caller.merchant_id, kept_id, other_id, caller.user_id, deps.clock.now())
    if kept is None:
        raise NotFound("Contact not found")
    return kept


async def erase(deps: Dependencies, caller: Principal, contact_id: str) -> None:
    """Erase a contact with everything held about it; one whose erasure was cut off is erased to the end.

    Raises:
        NotFound: when the merchant has no such contact.
    """
    erasures = ContactErasures(deps.database, deps.settings)
    if not await erasures.erase(caller.merchant_id, contact_id, caller.user_id, deps.clock):
        raise NotFound("Contact not found")
