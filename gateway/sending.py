"""What a person says in a conversation, on its way to X (contract, part 5, "Conversations")."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from actors.account import AccountActor
from actors.clients.x_client import XClient
from actors.clients.x_transport import XApiError
from actors.runtime.errors import CallExpired
from domain.errors import Conflict, InvalidRequest, LimitExceeded, NotFound, Problem, Unavailable, XRefused
from domain.outgoing_content import LinkAttachment, UploadedMedia, check_additions
from domain.templates import Button, QuickReply, TemplateType
from domain.x_errors import FailureKind
from gateway.dependencies import Dependencies
from gateway.principal import Principal
from storage.conversations import ConversationDocument
from storage.encryption import CannotOpen
from storage.messages import AgentMessage, Failure, MessageDocument

log = structlog.get_logger()

#: The longest text that X takes.
MOST_CHARACTERS = 10_000
#: How long a request waits for X's word.
WAIT_S = 10.0
#: After how long to come back where X's limit on uploads is used up and X does not say until when.
_LIMIT_WAIT_S = 60


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that a person wants to send; the id makes a repeated request the same message."""

    id: str
    conversation_id: str
    type: TemplateType
    content: str
    options: tuple[QuickReply, ...] = ()
    buttons: tuple[Button, ...] = ()
    attachment: LinkAttachment | None = None
    source: str = "agent"


async def send(deps: Dependencies, sender: Principal, outgoing: Outgoing, *, wait: bool) -> MessageDocument:
    """Store a message, have the account's actor send it, and return it as it is afterwards.

    With `wait` an attachment is uploaded first, however long that takes; then the message that comes back is `sent`, or
    still `queued`, `sending` or `unknown` after `WAIT_S`. Without it the account's actor uploads the attachment, and a
    link that leads to nothing makes the message `failed`.

    Raises:
        InvalidRequest: when the text is longer than X takes.
        InvalidContent: when quick replies or buttons don't fit the type, or the attachment can't be sent.
        NotFound: when the merchant has no such conversation.
        Conflict: when the conversation is closed, or its account is not connected.
        LimitExceeded: when the account may not send now; the message is not kept.
        XRefused: when X refused the attachment, or the message, which is kept as `failed`.
        Unavailable: when the actors are not to be reached; the message is not kept.
    """
    if len(outgoing.content) > MOST_CHARACTERS:
        reason = f"is over {MOST_CHARACTERS} characters"
        raise InvalidRequest("Message content exceeds X's limit", problems=(Problem("content", reason),))
    check_additions(outgoing.type, outgoing.options, outgoing.buttons)
    messages, merchant_id = deps.repositories.messages, sender.merchant_id
    conversation = await _conversation(deps, merchant_id, outgoing.conversation_id)
    if await messages.get(merchant_id, outgoing.id) is None:
        await _check_open(deps, conversation)
        media = await _uploaded(deps, conversation, outgoing.attachment, wait=wait)
        if media is not None:
            # Meanwhile it may have been closed, or its contact erased.
            conversation = await _conversation(deps, merchant_id, outgoing.conversation_id)
            await _check_open(deps, conversation)
        await messages.queue(merchant_id, _agent_message(conversation, sender, outgoing, media), deps.clock.now())
    if wait:
        await _deliver(deps, merchant_id, conversation["accountId"], outgoing.id)
    else:
        deps.background.start("hand_over", _hand_over(deps, conversation["accountId"], outgoing.id))
    return await _outcome(deps, merchant_id, outgoing.id)


async def _conversation(deps: Dependencies, merchant_id: str, conversation_id: str) -> ConversationDocument:
    conversation = await deps.repositories.conversations.get(merchant_id, conversation_id)
    if conversation is None:
        raise NotFound("Conversation not found")
    return conversation


async def _check_open(deps: Dependencies, conversation: ConversationDocument) -> None:
    if conversation["status"] != "open":
        raise Conflict("The conversation is closed")
    account = await deps.repositories.accounts.get(conversation["merchantId"], conversation["accountId"])
    if account is None or not account["connected"]:
        raise Conflict("The account of this conversation is not connected")


async def _uploaded(
    deps: Dependencies, conversation: ConversationDocument, link: LinkAttachment | None, *, wait: bool
) -> UploadedMedia | None:
    """Have X take an attachment; nothing where there is none, or where it is left to the account's actor."""
    if link is None:
        return None
    deps.attachments.check(link)
    if not wait:
        return None
    client = await _client(deps, conversation["merchantId"], conversation["accountId"])
    try:
        return await deps.attachments.upload(link, client, conversation["merchantId"])
    except XApiError as error:
        if error.failure.kind is FailureKind.RATE_LIMIT:
            wait_s = error.failure.retry_after_s or _LIMIT_WAIT_S
            raise LimitExceeded("X's limit is used up", retry_after_s=wait_s) from error
        raise


async def _client(deps: Dependencies, merchant_id: str, account_id: str) -> XClient:
    if deps.x is None:
        raise Unavailable("X is not configured", retry_after_s=60)
    try:
        tokens = await deps.repositories.accounts.tokens(merchant_id, account_id)
    except CannotOpen as error:
        log.exception("send.tokens_unreadable", account_id=account_id)
        raise Conflict("The account of this conversation is not connected") from error
    if tokens is None:
        raise Conflict("The account of this conversation is not connected")
    return deps.x.client_for(tokens.oauth_token, tokens.oauth_token_secret)


async def _deliver(deps: Dependencies, merchant_id: str, account_id: str, message_id: str) -> None:
    try:
        _ = await deps.actors.ref(AccountActor, account_id, timeout_s=WAIT_S).deliver(message_id)
    except CallExpired:
        # The actor has it, or will find it among the account's queued messages.
        log.info("send.unsettled", message_id=message_id)
    except (LimitExceeded, Unavailable):
        if await deps.repositories.messages.withdraw(merchant_id, message_id):
            raise
        # Somebody began to send it after all: what becomes of it is in the document.


async def _hand_over(deps: Dependencies, account_id: str, message_id: str) -> None:
    """Tell the account's actor of a queued message; what it can't send now waits for its turn with all others."""
    actor = deps.actors.ref(AccountActor, account_id)
    try:
        _ = await actor.deliver(message_id)
    except LimitExceeded:
        await actor.resume()


async def _outcome(deps: Dependencies, merchant_id: str, message_id: str) -> MessageDocument:
    message = await deps.repositories.messages.get(merchant_id, message_id)
    if message is None:
        raise NotFound("The message was erased while it was being sent")
    if message["status"] == "failed":
        failure = message.get("failure") or Failure(reason="failed", code=None, text=None)
        raise XRefused("X did not take the message", details={"messageId": message_id, **failure})
    return message


def _agent_message(
    conversation: ConversationDocument, sender: Principal, outgoing: Outgoing, media: UploadedMedia | None
) -> AgentMessage:
    return AgentMessage(
        id=outgoing.id,
        account_id=conversation["accountId"],
        conversation_id=conversation["_id"],
        contact_id=conversation["contactId"],
        twitter_user_id=conversation["twitterUserId"],
        type=outgoing.type,
        content=outgoing.content,
        user_id=sender.user_id,
        source=outgoing.source,
        options=outgoing.options,
        buttons=outgoing.buttons,
        attachment=outgoing.attachment,
        media=media,
    )
