from __future__ import annotations

from http import HTTPStatus

from domain.errors import Conflict, LimitExceeded, NotFound, XRefused
from gateway.models.base import NoBody
from gateway.models.messages import MessageAnswer, MessageQuery, SendMessage, SendQuery
from gateway.principal import AGENTS
from gateway.routing import API, AnyRoute, Call, Reply, Route
from gateway.sending import Outgoing, send

_PATH = f"{API}/conversations/{{conversationId}}/messages"


async def list_messages(call: Call[MessageQuery, NoBody]) -> Reply[MessageAnswer]:
    """Return a part of a conversation's history."""
    conversation_id, repositories, query = call.path["conversationId"], call.deps.repositories, call.query
    if await repositories.conversations.get(call.merchant_id, conversation_id) is None:
        raise NotFound("Conversation not found")
    documents, total = await repositories.messages.page(
        call.merchant_id, conversation_id, query.part, newest_first=query.order == "desc"
    )
    return Reply([MessageAnswer.model_validate(each) for each in documents], query, total)


async def send_message(call: Call[SendQuery, SendMessage]) -> Reply[MessageAnswer]:
    """Send a message and answer it as X took it."""
    outgoing = Outgoing(call.resource_id, call.path["conversationId"], call.body.type, call.body.content)
    message = await send(call.deps, call.principal, outgoing, wait=call.query.wait)
    settled = message["status"] == "sent" or not call.query.wait
    return Reply(MessageAnswer.model_validate(message), status=HTTPStatus.OK if settled else HTTPStatus.ACCEPTED)


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "GET",
        _PATH,
        list_messages,
        MessageQuery,
        NoBody,
        MessageAnswer,
        summary="List a conversation's messages",
        errors=(NotFound,),
    ),
    Route(
        "POST",
        _PATH,
        send_message,
        SendQuery,
        SendMessage,
        MessageAnswer,
        summary="Send a message",
        roles=AGENTS,
        errors=(NotFound, Conflict, LimitExceeded, XRefused),
        idempotent=True,
    ),
)
