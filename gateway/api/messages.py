from __future__ import annotations

from http import HTTPStatus

from domain.errors import Conflict, LimitExceeded, NotFound, XRefused
from domain.outgoing_content import LinkAttachment
from domain.templates import Button, QuickReply
from gateway.models.base import NoBody
from gateway.models.messages import MessageAnswer, MessageQuery, SendMessage, SendQuery
from gateway.paths import API
from gateway.principal import AGENTS
from gateway.routing import AnyRoute, Call, Reply, Route
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
    body = call.body
    outgoing = Outgoing(
        call.resource_id,
        call.path["conversationId"],
        body.type,
        body.content,
        options=tuple(QuickReply(each.label, each.description, each.metadata) for each in body.options),
        buttons=tuple(Button(each.label, each.url) for each in body.buttons),
        attachment=next((LinkAttachment(each.type, each.url) for each in body.attachments), None),
    )
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
