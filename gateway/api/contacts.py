from __future__ import annotations

from domain.errors import NotFound
from gateway.api.conversations import with_contacts
from gateway.durations import duration_text
from gateway.models.base import NoBody, NoQuery
from gateway.models.contacts import ContactAnswer, ContactDetails, ContactQuery
from gateway.models.conversations import ContactConversationQuery, ConversationAnswer
from gateway.routing import API, AnyRoute, Call, Reply, Route
from storage.contacts import ContactDocument, ContactFilter
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
    if contact is None:
        raise NotFound("Contact not found")
    return Reply(ContactDetails.model_validate({**contact, "engagement": engagement(contact)}))


async def list_contact_conversations(call: Call[ContactConversationQuery, NoBody]) -> Reply[ConversationAnswer]:
    """Return a contact's conversations, latest message first."""
    contact_id, repositories = call.path["contactId"], call.deps.repositories
    if await repositories.contacts.get(call.merchant_id, contact_id) is None:
        raise NotFound("Contact not found")
    wanted = ConversationFilter(contact_id=contact_id, status=call.query.status)
    documents, total = await repositories.conversations.page(call.merchant_id, wanted, call.query.part)
    return Reply(await with_contacts(repositories.contacts, call.merchant_id, documents), call.query, total)


def engagement(contact: ContactDocument) -> dict[str, object]:
    """Return how much was said to and by a contact, and how fast the merchant answers on average."""
    answers = contact["responseCount"]
    average = contact["responseSeconds"] / answers if answers else None
    return {
        "messagesSent": contact["messagesSent"],
        "messagesReceived": contact["messagesReceived"],
        "averageResponseTime": duration_text(average),
    }


ROUTES: tuple[AnyRoute, ...] = (
    Route("GET", f"{API}/contacts", list_contacts, ContactQuery, NoBody, ContactAnswer, summary="List contacts"),
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
)
