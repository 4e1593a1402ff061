from __future__ import annotations

from collections.abc import Sequence

from domain.errors import InvalidContent, NotFound, Problem
from domain.message_words import asked_for
from gateway.models.base import NoBody, NoQuery
from gateway.models.conversations import (
    AssignConversation,
    CloseConversation,
    ConversationAnswer,
    ConversationDetails,
    ConversationQuery,
    OneConversationQuery,
    UnreadAnswer,
    UnreadOfAccount,
)
from gateway.models.messages import MessageAnswer
from gateway.paths import API
from gateway.principal import AGENTS
from gateway.routing import AnyRoute, BodyT, Call, QueryT, Reply, Route
from storage.contacts import Contacts
from storage.conversations import MOST_UNREAD, Assignee, ConversationDocument, ConversationFilter
from storage.message_search import MessageFilter

_ONE = f"{API}/conversations/{{conversationId}}"
_NOBODY = "none"
#: What a conversation is answered with at most; the rest is paged through.
_MOST_MESSAGES = 1_000


async def list_conversations(call: Call[ConversationQuery, NoBody]) -> Reply[ConversationAnswer]:
    """Return the conversations that match, latest message first, or last."""
    query, repositories = call.query, call.deps.repositories
    wanted = ConversationFilter(
        account_id=query.account_id,
        contact_id=query.contact_id,
        status=query.status,
        assigned=None if query.assigned_to is None else Assignee(_user_or_nobody(query.assigned_to)),
        unread=query.unread,
        escalated=query.escalated,
        since=query.since,
        until=query.until,
        ids=await _ids_by_words(call) if query.search else None,
    )
    documents, total = await repositories.conversations.page(
        call.merchant_id, wanted, query.part, oldest_first=query.order == "asc"
    )
    return Reply(await with_contacts(repositories.contacts, call.merchant_id, documents), query, total)


async def count_unread(call: Call[NoQuery, NoBody]) -> Reply[UnreadAnswer]:
    """Return how many open conversations have messages that nobody has read: by account, and the caller's own."""
    counts = await call.deps.repositories.conversations.unread(call.merchant_id, call.principal.user_id)
    total = sum(each["conversations"] for each in counts)
    answer = UnreadAnswer.model_construct(
        conversations=total,
        assigned_to_me=sum(each["assigned"] for each in counts),
        accounts=[UnreadOfAccount.model_validate(each) for each in counts],
        complete=total < MOST_UNREAD,
    )
    return Reply(answer)


async def get_conversation(call: Call[OneConversationQuery, NoBody]) -> Reply[ConversationDetails]:
    """Return one conversation with its newest 1,000 messages, oldest first; older ones are at `…/messages`."""
    conversation_id, repositories = call.path["conversationId"], call.deps.repositories
    conversation = await repositories.conversations.get(call.merchant_id, conversation_id)
    shown = await _shown(call, conversation)
    messages, has_older = None, False
    if call.query.include_messages:
        found = await repositories.messages.newest(call.merchant_id, conversation_id, _MOST_MESSAGES + 1)
        has_older = len(found) > _MOST_MESSAGES
        messages = [MessageAnswer.model_validate(each) for each in found[-_MOST_MESSAGES:]]
        messages.sort(key=lambda each: each.sent_at or each.created_at)
    return Reply(ConversationDetails.model_construct(**dict(shown), messages=messages, has_older_messages=has_older))


async def read_conversation(call: Call[NoQuery, NoBody]) -> Reply[ConversationAnswer]:
    """Take note that everything in a conversation up to now has been read."""
    conversations = call.deps.repositories.conversations
    return Reply(await _shown(call, await conversations.read(call.merchant_id, call.path["conversationId"])))


async def close_conversation(call: Call[NoQuery, CloseConversation]) -> Reply[ConversationAnswer]:
    """Close a conversation; one that is closed stays as it is."""
    conversation_id, now = call.path["conversationId"], call.deps.clock.now()
    conversations = call.deps.repositories.conversations
    return Reply(
        await _shown(call, await conversations.close(call.merchant_id, conversation_id, call.body.reason, now))
    )


async def assign_conversation(call: Call[NoQuery, AssignConversation]) -> Reply[ConversationAnswer]:
    """Give a conversation to a person of the merchant, or to nobody."""
    repositories, user_id, conversation_id = call.deps.repositories, call.body.user_id, call.path["conversationId"]
    if await repositories.conversations.get(call.merchant_id, conversation_id) is None:
        raise NotFound("Conversation not found")
    # Who calls is a person of the merchant, even where people are kept by an external issuer.
    if user_id not in {None, call.principal.user_id} and not await repositories.users.is_active(
        call.merchant_id, str(user_id)
    ):
        raise InvalidContent("There is no such user", problems=(Problem("userId", "is no user of this merchant"),))
    return Reply(
        await _shown(call, await repositories.conversations.assign(call.merchant_id, conversation_id, user_id))
    )


async def with_contacts(
    contacts: Contacts, merchant_id: str, conversations: Sequence[ConversationDocument]
) -> list[ConversationAnswer]:
    """Return conversations with the names of their contacts, read in one query."""
    names = await contacts.names(merchant_id, {each["contactId"] for each in conversations})
    return [
        ConversationAnswer.model_validate({**each, "contact": names.get(each["contactId"], {})})
        for each in conversations
    ]


async def _shown(call: Call[QueryT, BodyT], conversation: ConversationDocument | None) -> ConversationAnswer:
    if conversation is None:
        raise NotFound("Conversation not found")
    return (await with_contacts(call.deps.repositories.contacts, call.merchant_id, [conversation]))[0]


async def _ids_by_words(call: Call[ConversationQuery, NoBody]) -> list[str]:
    """Return the conversations with a message that has the words which are searched for."""
    query, asked = call.query, asked_for(call.query.search)
    if asked is None:
        return []
    # When a message was said is no condition here: the times of a list are those of the last messages.
    wanted = MessageFilter(account_id=query.account_id, contact_id=query.contact_id)
    return await call.deps.repositories.message_search.conversation_ids(call.merchant_id, asked, wanted)


def _user_or_nobody(text: str) -> str | None:
    return None if text == _NOBODY else text


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "GET",
        f"{API}/conversations",
        list_conversations,
        ConversationQuery,
        NoBody,
        ConversationAnswer,
        summary="List conversations",
    ),
    Route(
        "GET",
        f"{API}/conversations/unread",
        count_unread,
        NoQuery,
        NoBody,
        UnreadAnswer,
        summary="Count unread conversations",
    ),
    Route(
        "GET",
        _ONE,
        get_conversation,
        OneConversationQuery,
        NoBody,
        ConversationDetails,
        summary="Get a conversation with its messages",
        errors=(NotFound,),
    ),
    Route(
        "PUT",
        f"{_ONE}/read",
        read_conversation,
        NoQuery,
        NoBody,
        ConversationAnswer,
        summary="Mark a conversation as read",
        roles=AGENTS,
        errors=(NotFound,),
    ),
    Route(
        "PUT",
        f"{_ONE}/close",
        close_conversation,
        NoQuery,
        CloseConversation,
        ConversationAnswer,
        summary="Close a conversation",
        roles=AGENTS,
        errors=(NotFound,),
        body_optional=True,
    ),
    Route(
        "POST",
        f"{_ONE}/assign",
        assign_conversation,
        NoQuery,
        AssignConversation,
        ConversationAnswer,
        summary="Assign a conversation",
        roles=AGENTS,
        errors=(NotFound,),
    ),
)
