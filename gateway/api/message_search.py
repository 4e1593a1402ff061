from __future__ import annotations

from domain.message_words import asked_for
from gateway.api.conversations import with_contacts
from gateway.models.base import NoBody
from gateway.models.message_search import FoundMessage, MessageSearchQuery
from gateway.paths import API
from gateway.routing import AnyRoute, Call, Reply, Route
from storage.message_search import MessageFilter


async def search_messages(call: Call[MessageSearchQuery, NoBody]) -> Reply[FoundMessage]:
    """Return the messages with these words, newest first: the newest 1,000 that match, whatever case and accents.

    A message can be found a moment after it has come, or after X has taken it.
    """
    query, repositories = call.query, call.deps.repositories
    asked = asked_for(query.q)
    if asked is None:
        return Reply([], query, 0)
    wanted = MessageFilter(
        account_id=query.account_id,
        conversation_id=query.conversation_id,
        contact_id=query.contact_id,
        direction=query.direction,
        since=query.since,
        until=query.until,
    )
    messages, total = await repositories.message_search.page(call.merchant_id, asked, wanted, query.part)
    ids = {message["conversationId"] for message in messages}
    documents = await repositories.conversations.several(call.merchant_id, ids)
    conversations = {each.id: each for each in await with_contacts(repositories.contacts, call.merchant_id, documents)}
    found = [
        FoundMessage.model_validate({**message, "conversation": conversations[message["conversationId"]]})
        for message in messages
        # One that is gone by now was erased with its contact.
        if message["conversationId"] in conversations
    ]
    return Reply(found, query, total)


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "GET",
        f"{API}/messages/search",
        search_messages,
        MessageSearchQuery,
        NoBody,
        FoundMessage,
        summary="Search messages",
    ),
)
