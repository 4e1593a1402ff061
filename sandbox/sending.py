"""Accepting a direct message from a shop, the same for v1.1 and v2."""

from __future__ import annotations

from sandbox.body import JsonObject
from sandbox.endpoint import Call
from sandbox.events import Kind
from sandbox.fault_middleware import ECHO_FIRST, ECHO_NEVER
from sandbox.media import NotForMessages, WrongMedia
from sandbox.messages import DirectMessage
from sandbox.people import User
from sandbox.problems import Refusal, invalid_request, problem, v1_refusal, v2_refusal

LONGEST_TEXT = 10_000


def recipient(call: Call, user_id: str) -> User:
    """Return whom the shop wants to write to.

    Raises:
        Refusal: nobody has this id (v1.1 404 code 50, v2 404), the person takes no messages from the shop (403; v1.1
            code 349), or the account's 24 hours are used up (429).
    """
    world, sender = call.world, call.sender
    user = world.people.get(user_id)
    if user is None or user.id == sender.id:
        if call.classic:
            raise v1_refusal(50)
        raise Refusal(404, problem(404, "Not Found Error", f"Could not find user with id: [{user_id}]."))
    if not user.accepts_messages or sender.id in user.blocked:
        raise v1_refusal(349) if call.classic else v2_refusal("NoPermissionToMessage")
    if world.sent_in_24h(sender.id) >= world.limits.account_24h:
        raise v1_refusal(88) if call.classic else v2_refusal("TooManyRequests")
    return user


def attachment(call: Call, media_id: str) -> JsonObject:
    """Return the media of a message.

    Raises:
        Refusal: it may not be attached.
    """
    try:
        media = call.world.media.attachable(call.sender.id, media_id)
    except NotForMessages as wrong:
        if call.classic:
            raise Refusal(403, {"errors": [{"code": 151, "message": str(wrong)}]}) from None
        raise Refusal(403, problem(403, "Forbidden", str(wrong))) from None
    except WrongMedia as wrong:
        raise (v1_refusal(325) if call.classic else invalid_request(str(wrong), "attachments")) from None
    return {"id": media.id, "type": media.message_type}


async def accept(call: Call, message: DirectMessage) -> None:
    """Keep a message and echo it: usually a moment after the answer, on demand before it, or never."""
    world, request = call.world, call.request
    world.keep(message)
    if request.get(ECHO_NEVER):
        return
    if not request.get(ECHO_FIRST):
        world.announce_later(message)
        return
    deliveries = world.announce(message)
    for delivery in deliveries:
        if delivery.kind == Kind.MESSAGE and delivery.account_id == call.sender.id:
            await world.courier.attempted(delivery)


def described(message: DirectMessage) -> dict[str, str]:
    """Return v2's answer to a send."""
    return {"dm_conversation_id": message.conversation_id, "dm_event_id": message.id}
