from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from pydantic import BaseModel

from domain.errors import Conflict, NotFound
from domain.templates import SAMPLE, Button, QuickReply, TemplateDraft, checked_variables, render
from gateway.models.base import NoBody, NoQuery
from gateway.models.templates import (
    ButtonInput,
    ChangeTemplate,
    CreateTemplate,
    PreviewTemplate,
    QuickReplyInput,
    TemplateAnswer,
    TemplatePreview,
    TemplateQuery,
)
from gateway.paths import API
from gateway.principal import ADMINS
from gateway.routing import AnyRoute, Call, Reply, Route, nothing
from storage.templates import TemplateDocument, TemplateFields

_ONE = f"{API}/templates/{{templateId}}"


async def create_template(call: Call[NoQuery, CreateTemplate]) -> Reply[TemplateAnswer]:
    """Create a template; its variables must be those that the content uses."""
    body = call.body
    variables = None if body.variables is None else tuple(body.variables)
    draft = TemplateDraft(body.type, body.content, variables, _options(body.options), _buttons(body.buttons))
    fields = await _checked(body.name, draft)
    templates = call.deps.repositories.templates
    return Reply(_shown(await templates.add(call.merchant_id, call.resource_id, fields, call.deps.clock.now())))


async def list_templates(call: Call[TemplateQuery, NoBody]) -> Reply[TemplateAnswer]:
    """Return the templates that match, newest first."""
    query = call.query
    documents, total = await call.deps.repositories.templates.page(
        call.merchant_id, query.type, query.search.strip(), query.part
    )
    return Reply([_shown(each) for each in documents], query, total)


async def get_template(call: Call[NoQuery, NoBody]) -> Reply[TemplateAnswer]:
    """Return one template."""
    return Reply(_shown(await call.deps.repositories.templates.get(call.merchant_id, call.path["templateId"])))


async def change_template(call: Call[NoQuery, ChangeTemplate]) -> Reply[TemplateAnswer]:
    """Change a template; what isn't given stays, and lists are replaced whole."""
    templates = call.deps.repositories.templates
    known = await templates.get(call.merchant_id, call.path["templateId"])
    if known is None:
        raise NotFound("Template not found")
    fields = await _checked(call.body.name or known["name"], _changed(known, call.body))
    return Reply(_shown(await templates.change(known, fields, call.deps.clock.now())))


async def delete_template(call: Call[NoQuery, NoBody]) -> Reply[BaseModel]:
    """Delete a template that no campaign uses which may still send."""
    if not await call.deps.repositories.templates.remove(call.merchant_id, call.path["templateId"]):
        raise NotFound("Template not found")
    return nothing()


async def preview_template(call: Call[NoQuery, PreviewTemplate]) -> Reply[TemplatePreview]:
    """Return what a receiver would see."""
    known = await call.deps.repositories.templates.get(call.merchant_id, call.path["templateId"])
    if known is None:
        raise NotFound("Template not found")
    # Bounded, but up to a good part of a second: other requests need not wait for it.
    fillings = replace(SAMPLE, given=call.body.variables)
    rendered = await asyncio.to_thread(render, known["content"], fillings)
    return Reply(TemplatePreview(rendered=rendered))


async def _checked(name: str, draft: TemplateDraft) -> TemplateFields:
    variables = await asyncio.to_thread(checked_variables, draft)
    return {
        "name": name,
        "type": draft.type,
        "content": draft.content,
        "variables": list(variables),
        "options": [
            {"label": each.label, "description": each.description, "metadata": each.metadata} for each in draft.options
        ],
        "buttons": [{"label": each.label, "url": each.url} for each in draft.buttons],
    }


def _changed(known: TemplateDocument, body: ChangeTemplate) -> TemplateDraft:
    kept = None if body.content else tuple(known["variables"])
    return TemplateDraft(
        type=body.type or known["type"],
        content=body.content or known["content"],
        variables=kept if body.variables is None else tuple(body.variables),
        options=tuple(QuickReply(**each) for each in known["options"])
        if body.options is None
        else _options(body.options),
        buttons=tuple(Button(**each) for each in known["buttons"]) if body.buttons is None else _buttons(body.buttons),
    )


def _options(given: Iterable[QuickReplyInput]) -> tuple[QuickReply, ...]:
    return tuple(QuickReply(each.label, each.description, each.metadata) for each in given)


def _buttons(given: Iterable[ButtonInput]) -> tuple[Button, ...]:
    return tuple(Button(each.label, each.url) for each in given)


def _shown(template: TemplateDocument | None) -> TemplateAnswer:
    if template is None:
        raise NotFound("Template not found")
    return TemplateAnswer.model_validate(template)


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "POST",
        f"{API}/templates",
        create_template,
        NoQuery,
        CreateTemplate,
        TemplateAnswer,
        summary="Create a template",
        roles=ADMINS,
        errors=(Conflict,),
        idempotent=True,
    ),
    Route("GET", f"{API}/templates", list_templates, TemplateQuery, NoBody, TemplateAnswer, summary="List templates"),
    Route("GET", _ONE, get_template, NoQuery, NoBody, TemplateAnswer, summary="Get a template", errors=(NotFound,)),
    Route(
        "PUT",
        _ONE,
        change_template,
        NoQuery,
        ChangeTemplate,
        TemplateAnswer,
        summary="Change a template",
        roles=ADMINS,
        errors=(NotFound, Conflict),
    ),
    Route(
        "DELETE",
        _ONE,
        delete_template,
        NoQuery,
        NoBody,
        BaseModel,
        summary="Delete a template",
        roles=ADMINS,
        errors=(NotFound, Conflict),
    ),
    Route(
        "POST",
        f"{_ONE}/preview",
        preview_template,
        NoQuery,
        PreviewTemplate,
        TemplatePreview,
        summary="Preview a template",
        errors=(NotFound,),
        body_optional=True,
        changes=False,
    ),
)
