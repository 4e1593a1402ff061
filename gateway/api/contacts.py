from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from domain.contact_fields import AttributeValue, attribute_value, folded_tag
from domain.errors import Conflict, NotFound
from gateway.api.conversations import with_contacts
from gateway.contact_changes import change, consent_of, create, erase, merge
from gateway.contact_import import ImportRequest, begin_import, get_import
from gateway.durations import duration_text
from gateway.models.base import NoBody, NoQuery
from gateway.models.contacts import (
    AddTags,
    ChangeAttributes,
    ChangeContact,
    ContactAnswer,
    ContactDetails,
    ContactExport,
    ContactQuery,
    CreateContact,
    ImportAnswer,
    ImportContacts,
    MergeContacts,
)
from gateway.models.conversations import ContactConversationQuery, ConversationAnswer
from gateway.paths import API
from gateway.principal import AGENTS
from gateway.routing import AnyRoute, BodyT, Call, QueryT, Reply, Route, nothing
from storage.contact_export import holdings_of
from storage.contact_imports import ImportDocument
from storage.contact_queries import ContactFilter
from storage.contacts import ContactChange, ContactDocument, NewContact
from storage.conversations import ConversationFilter

_ONE = f"{API}/contacts/{{contactId}}"


async def list_contacts(call: Call[ContactQuery, NoBody]) -> Reply[ContactAnswer]:
    """Return the contacts that match, latest interaction first."""
    query = call.query
    wanted = ContactFilter(query.account_id, query.wanted_tags, query.search.strip() or None)
    documents, total = await call.deps.repositories.contacts.page(call.merchant_id, wanted, query.part)
    return Reply([ContactAnswer.model_validate(each) for each in documents], query, total)


async def get_contact(call: Call[NoQuery, NoBody]) -> Reply[ContactDetails]:
    """Return one contact and how much was said."""
    contact = await call.deps.repositories.contacts.get(call.merchant_id, call.path["contactId"])
    return Reply(_details(contact))


async def create_contact(call: Call[NoQuery, CreateContact]) -> Reply[ContactDetails]:
    """Make a user of X known to an account."""
    body, now = call.body, call.deps.clock.now()
    new = NewContact(
        id=call.resource_id,
        account_id=body.account_id,
        twitter_user_id=body.twitter_user_id,
        source="api",
        username=body.username,
        display_name=body.display_name,
        tags=body.tags,
        attributes=body.checked_attributes,
        consent=consent_of(body.consent, now, body.consent_source),
    )
    return Reply(_details(await create(call.deps, call.merchant_id, new)))


async def change_contact(call: Call[NoQuery, ChangeContact]) -> Reply[ContactDetails]:
    """Change a contact's name, attributes and consent; what X says does not overwrite the name any more."""
    body, changed = call.body, call.body.attributes
    agreed = "consent" in body.model_fields_set
    return await _changed(
        call,
        ContactChange(
            display_name=body.display_name or None,
            attributes=_attributes(changed),
            removed_attributes=_removed(changed),
            consent=consent_of(body.consent, call.deps.clock.now(), body.consent_source) if agreed else None,
            takes_back_opt_out=body.consent_source is not None,
        ),
    )


async def change_attributes(call: Call[NoQuery, ChangeAttributes]) -> Reply[ContactDetails]:
    """Set several attributes of a contact at once."""
    changed = call.body.attributes
    return await _changed(call, ContactChange(attributes=_attributes(changed), removed_attributes=_removed(changed)))


async def add_tags(call: Call[NoQuery, AddTags]) -> Reply[ContactDetails]:
    """Add tags to a contact; those that are there stay as they are."""
    return await _changed(call, ContactChange(added_tags=tuple(dict.fromkeys(call.body.tags))))


async def remove_tag(call: Call[NoQuery, NoBody]) -> Reply[BaseModel]:
    """Take a tag from a contact; one that isn't there is no error."""
    tag = folded_tag(call.path["tagName"])
    contacts = call.deps.repositories.contacts
    if not await contacts.remove_tag(call.merchant_id, call.path["contactId"], tag, call.deps.clock.now()):
        raise NotFound("Contact not found")
    return nothing()


async def list_contact_conversations(call: Call[ContactConversationQuery, NoBody]) -> Reply[ConversationAnswer]:
    """Return a contact's conversations, latest message first."""
    contact_id, repositories = call.path["contactId"], call.deps.repositories
    if await repositories.contacts.get(call.merchant_id, contact_id) is None:
        raise NotFound("Contact not found")
    wanted = ConversationFilter(contact_id=contact_id, status=call.query.status)
    documents, total = await repositories.conversations.page(call.merchant_id, wanted, call.query.part)
    return Reply(await with_contacts(repositories.contacts, call.merchant_id, documents), call.query, total)


async def merge_contacts(call: Call[NoQuery, MergeContacts]) -> Reply[ContactDetails]:
    """Let a contact take up another one that is the same person."""
    return Reply(_details(await merge(call.deps, call.principal, call.path["contactId"], call.body.contact_id)))


async def import_contacts(call: Call[NoQuery, ImportContacts]) -> Reply[ImportAnswer]:
    """Import rows of contacts in the background."""
    body = call.body
    request = ImportRequest(call.resource_id, body.account_id, call.principal.user_id, body.format, body.content)
    return Reply(_import(await begin_import(call.deps, call.merchant_id, request)))


async def show_import(call: Call[NoQuery, NoBody]) -> Reply[ImportAnswer]:
    """Return an import with what became of its rows."""
    return Reply(_import(await get_import(call.deps, call.merchant_id, call.path["importId"])))


async def export_contact(call: Call[NoQuery, NoBody]) -> Reply[ContactExport]:
    """Return everything that is held about a contact."""
    held = await holdings_of(call.deps.database, call.merchant_id, call.path["contactId"])
    if held is None:
        raise NotFound("Contact not found")
    return Reply(ContactExport.model_validate({**held, "exportedAt": call.deps.clock.now()}))


async def erase_contact(call: Call[NoQuery, NoBody]) -> Reply[BaseModel]:
    """Erase a contact and everything that is held about it."""
    await erase(call.deps, call.principal, call.path["contactId"])
    return nothing()


def engagement(contact: ContactDocument) -> dict[str, object]:
    """Return how much was said to and by a contact, and how fast the merchant answers on average."""
    answers = contact["responseCount"]
    average = contact["responseSeconds"] / answers if answers else None
    return {
        "messagesSent": contact["messagesSent"],
        "messagesReceived": contact["messagesReceived"],
        "averageResponseTime": duration_text(average),
    }


async def _changed(call: Call[QueryT, BodyT], wanted: ContactChange) -> Reply[ContactDetails]:
    return Reply(_details(await change(call.deps, call.merchant_id, call.path["contactId"], wanted)))


def _details(contact: ContactDocument | None) -> ContactDetails:
    if contact is None:
        raise NotFound("Contact not found")
    return ContactDetails.model_validate({**contact, "engagement": engagement(contact)})


def _import(job: ImportDocument | None) -> ImportAnswer:
    if job is None:
        raise NotFound("Import not found")
    results = sorted(job["results"], key=lambda result: result["row"])
    return ImportAnswer.model_validate({**job, "results": results, "processed": len(results)})


def _attributes(given: Mapping[str, object]) -> dict[str, AttributeValue]:
    return {name: attribute_value(value) for name, value in given.items() if value is not None}


def _removed(given: Mapping[str, object]) -> frozenset[str]:
    return frozenset(name for name, value in given.items() if value is None)


ROUTES: tuple[AnyRoute, ...] = (
    Route("GET", f"{API}/contacts", list_contacts, ContactQuery, NoBody, ContactAnswer, summary="List contacts"),
    Route(
        "POST",
        f"{API}/contacts",
        create_contact,
        NoQuery,
        CreateContact,
        ContactDetails,
        summary="Create a contact",
        roles=AGENTS,
        errors=(Conflict,),
        idempotent=True,
    ),
    Route("GET", _ONE, get_contact, NoQuery, NoBody, ContactDetails, summary="Get a contact", errors=(NotFound,)),
    Route(
        "GET",
        f"{_ONE}/conversations",
        list_contact_conversations,
        ContactConversationQuery,
        NoBody,
        ConversationAnswer,
        summary="List a contact's conversations",
        errors=(NotFound,),
    ),
    Route(
        "PUT",
        _ONE,
        change_contact,
        NoQuery,
        ChangeContact,
        ContactDetails,
        summary="Change a contact",
        roles=AGENTS,
        errors=(NotFound, Conflict),
    ),
    Route(
        "PUT",
        f"{_ONE}/attributes",
        change_attributes,
        NoQuery,
        ChangeAttributes,
        ContactDetails,
        summary="Set attributes of a contact",
        roles=AGENTS,
        errors=(NotFound, Conflict),
    ),
    Route(
        "POST",
        f"{_ONE}/tags",
        add_tags,
        NoQuery,
        AddTags,
        ContactDetails,
        summary="Add tags to a contact",
        roles=AGENTS,
        errors=(NotFound, Conflict),
        idempotent=True,
    ),
    Route(
        "DELETE",
        f"{_ONE}/tags/{{tagName}}",
        remove_tag,
        NoQuery,
        NoBody,
        BaseModel,
        summary="Remove a tag from a contact",
        roles=AGENTS,
        errors=(NotFound,),
    ),
    Route(
        "DELETE",
        _ONE,
        erase_contact,
        NoQuery,
        NoBody,
        BaseModel,
        summary="Erase a contact and all its data",
        roles=AGENTS,
        errors=(NotFound,),
    ),
    Route(
        "POST",
        f"{_ONE}/merge",
        merge_contacts,
        NoQuery,
        MergeContacts,
        ContactDetails,
        summary="Merge another contact into a contact",
        roles=AGENTS,
        errors=(NotFound, Conflict),
        idempotent=True,
    ),
    Route(
        "GET",
        f"{_ONE}/export",
        export_contact,
        NoQuery,
        NoBody,
        ContactExport,
        summary="Export everything held about a contact",
        roles=AGENTS,
        errors=(NotFound,),
    ),
    Route(
        "POST",
        f"{API}/contacts/import",
        import_contacts,
        NoQuery,
        ImportContacts,
        ImportAnswer,
        summary="Import contacts",
        roles=AGENTS,
        idempotent=True,
    ),
    Route(
        "GET",
        f"{API}/contacts/imports/{{importId}}",
        show_import,
        NoQuery,
        NoBody,
        ImportAnswer,
        summary="Get an import of contacts",
        errors=(NotFound,),
    ),
)
