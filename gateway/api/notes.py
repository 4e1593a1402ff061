from __future__ import annotations

from pydantic import BaseModel

from domain.errors import NotAllowed, NotFound
from gateway.models.base import NoBody, NoQuery
from gateway.models.notes import NoteAnswer, NoteQuery, NoteText
from gateway.paths import API
from gateway.principal import ADMINS, AGENTS
from gateway.routing import AnyRoute, BodyT, Call, QueryT, Reply, Route, nothing
from storage.notes import NoteDocument

_ALL = f"{API}/conversations/{{conversationId}}/notes"
_ONE = f"{_ALL}/{{noteId}}"


async def list_notes(call: Call[NoteQuery, NoBody]) -> Reply[NoteAnswer]:
    """Return the notes about a conversation, oldest first."""
    conversation_id, repositories = call.path["conversationId"], call.deps.repositories
    if await repositories.conversations.get(call.merchant_id, conversation_id) is None:
        raise NotFound("Conversation not found")
    documents, total = await repositories.notes.page(call.merchant_id, conversation_id, call.query.part)
    return Reply([NoteAnswer.model_validate(each) for each in documents], call.query, total)


async def add_note(call: Call[NoQuery, NoteText]) -> Reply[NoteAnswer]:
    """Note something about a conversation, for colleagues; it is never sent to the customer."""
    note = await call.deps.repositories.notes.add(
        call.merchant_id,
        call.path["conversationId"],
        call.resource_id,
        call.principal.user_id,
        call.body.text,
        call.deps.clock.now(),
    )
    if note is None:
        raise NotFound("Conversation not found")
    return Reply(NoteAnswer.model_validate(note))


async def change_note(call: Call[NoQuery, NoteText]) -> Reply[NoteAnswer]:
    """Replace the text of a note; its author and admins may."""
    await _check_may_change(call)
    changed = await call.deps.repositories.notes.change(
        call.merchant_id, call.path["conversationId"], call.path["noteId"], call.body.text, call.deps.clock.now()
    )
    return Reply(NoteAnswer.model_validate(_found(changed)))


async def delete_note(call: Call[NoQuery, NoBody]) -> Reply[BaseModel]:
    """Delete a note; its author and admins may."""
    await _check_may_change(call)
    notes = call.deps.repositories.notes
    if not await notes.remove(call.merchant_id, call.path["conversationId"], call.path["noteId"]):
        raise NotFound("Note not found")
    return nothing()


async def _check_may_change(call: Call[QueryT, BodyT]) -> None:
    notes = call.deps.repositories.notes
    note = _found(await notes.get(call.merchant_id, call.path["conversationId"], call.path["noteId"]))
    if note["authorUserId"] != call.principal.user_id and not call.principal.roles & ADMINS:
        raise NotAllowed("Only its author or an admin may change a note")


def _found(note: NoteDocument | None) -> NoteDocument:
    if note is None:
        raise NotFound("Note not found")
    return note


ROUTES: tuple[AnyRoute, ...] = (
    Route("GET", _ALL, list_notes, NoteQuery, NoBody, NoteAnswer, summary="List notes", errors=(NotFound,)),
    Route(
        "POST",
        _ALL,
        add_note,
        NoQuery,
        NoteText,
        NoteAnswer,
        summary="Add a note",
        roles=AGENTS,
        errors=(NotFound,),
        idempotent=True,
    ),
    Route(
        "PUT",
        _ONE,
        change_note,
        NoQuery,
        NoteText,
        NoteAnswer,
        summary="Change a note",
        roles=AGENTS,
        errors=(NotFound,),
    ),
    Route(
        "DELETE",
        _ONE,
        delete_note,
        NoQuery,
        NoBody,
        BaseModel,
        summary="Delete a note",
        roles=AGENTS,
        errors=(NotFound,),
    ),
)
