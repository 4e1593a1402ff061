"""What a merchant's chatbot knows (contract, part 5, "AI")."""

from __future__ import annotations

from pydantic import BaseModel

from domain.errors import Conflict, NotFound
from gateway.models.ai_knowledge import ChangeSnippet, CreateSnippet, SnippetAnswer
from gateway.models.base import NoBody, NoQuery
from gateway.models.paging import Paging
from gateway.paths import API
from gateway.principal import ADMINS
from gateway.routing import AnyRoute, BodyT, Call, QueryT, Reply, Route, nothing
from storage.ai_knowledge import SnippetDocument

_ALL = f"{API}/ai/knowledge"
_ONE = f"{_ALL}/{{snippetId}}"


async def add_snippet(call: Call[NoQuery, CreateSnippet]) -> Reply[SnippetAnswer]:
    """Let the chatbot know something; it is looked up by its words when a customer asks."""
    knowledge, now = call.deps.repositories.ai_knowledge, call.deps.clock.now()
    snippet = await knowledge.add(call.merchant_id, call.resource_id, call.body.title, call.body.text, now)
    return Reply(SnippetAnswer.model_validate(snippet))


async def list_snippets(call: Call[Paging, NoBody]) -> Reply[SnippetAnswer]:
    """Return what the chatbot knows, newest first."""
    documents, total = await call.deps.repositories.ai_knowledge.page(call.merchant_id, call.query.part)
    return Reply([SnippetAnswer.model_validate(each) for each in documents], call.query, total)


async def get_snippet(call: Call[NoQuery, NoBody]) -> Reply[SnippetAnswer]:
    """Return one thing that the chatbot knows."""
    return Reply(SnippetAnswer.model_validate(await _snippet(call)))


async def change_snippet(call: Call[NoQuery, ChangeSnippet]) -> Reply[SnippetAnswer]:
    """Change something that the chatbot knows."""
    known, body = await _snippet(call), call.body
    changed = await call.deps.repositories.ai_knowledge.change(
        call.merchant_id, known["_id"], body.title or known["title"], body.text or known["text"], call.deps.clock.now()
    )
    return Reply(SnippetAnswer.model_validate(_found(changed)))


async def delete_snippet(call: Call[NoQuery, NoBody]) -> Reply[BaseModel]:
    """Let the chatbot forget something."""
    if not await call.deps.repositories.ai_knowledge.remove(call.merchant_id, call.path["snippetId"]):
        raise NotFound("Snippet not found")
    return nothing()


async def _snippet(call: Call[QueryT, BodyT]) -> SnippetDocument:
    return _found(await call.deps.repositories.ai_knowledge.get(call.merchant_id, call.path["snippetId"]))


def _found(snippet: SnippetDocument | None) -> SnippetDocument:
    if snippet is None:
        raise NotFound("Snippet not found")
    return snippet


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "POST",
        _ALL,
        add_snippet,
        NoQuery,
        CreateSnippet,
        SnippetAnswer,
        summary="Add to the chatbot's knowledge",
        roles=ADMINS,
        errors=(Conflict,),
        idempotent=True,
    ),
    Route("GET", _ALL, list_snippets, Paging, NoBody, SnippetAnswer, summary="List the chatbot's knowledge"),
    Route(
        "GET",
        _ONE,
        get_snippet,
        NoQuery,
        NoBody,
        SnippetAnswer,
        summary="Get a snippet of the chatbot's knowledge",
        errors=(NotFound,),
    ),
    Route(
        "PUT",
        _ONE,
        change_snippet,
        NoQuery,
        ChangeSnippet,
        SnippetAnswer,
        summary="Change a snippet of the chatbot's knowledge",
        roles=ADMINS,
        errors=(NotFound,),
    ),
    Route(
        "DELETE",
        _ONE,
        delete_snippet,
        NoQuery,
        NoBody,
        BaseModel,
        summary="Delete a snippet of the chatbot's knowledge",
        roles=ADMINS,
        errors=(NotFound,),
    ),
)
