"""The look-ups that a merchant lets the model ask for (contract, part 5, "AI")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import BaseModel

from domain.dialogue_tools import Tool, tool_problems
from domain.errors import Conflict, InvalidContent, NotFound
from gateway.models.ai_tools import ChangeTool, CreateTool, ToolAnswer
from gateway.models.base import NoBody, NoQuery
from gateway.models.paging import Paging
from gateway.paths import API
from gateway.principal import ADMINS
from gateway.routing import AnyRoute, BodyT, Call, QueryT, Reply, Route, nothing
from storage.ai_tools import ToolDocument, tool_of

_ALL = f"{API}/ai/tools"
_ONE = f"{_ALL}/{{toolId}}"


async def add_tool(call: Call[NoQuery, CreateTool]) -> Reply[ToolAnswer]:
    """Let the model ask for a look-up."""
    body = call.body
    tool = Tool(
        id=call.resource_id,
        name=body.name,
        description=body.description,
        url=body.url,
        method=body.method,
        parameters=tuple(each.to_parameter() for each in body.parameters),
    )
    _check(call, tool, body.headers)
    tools = call.deps.repositories.ai_tools
    return Reply(_shown(await tools.add(call.merchant_id, tool, body.headers, call.deps.clock.now())))


async def list_tools(call: Call[Paging, NoBody]) -> Reply[ToolAnswer]:
    """Return the look-ups that the model may ask for, by name."""
    documents, part = await call.deps.repositories.ai_tools.all(call.merchant_id), call.query.part
    shown = documents[part.skip : part.skip + part.take]
    return Reply([_shown(each) for each in shown], call.query, len(documents))


async def get_tool(call: Call[NoQuery, NoBody]) -> Reply[ToolAnswer]:
    """Return one look-up."""
    return Reply(_shown(await _tool(call)))


async def change_tool(call: Call[NoQuery, ChangeTool]) -> Reply[ToolAnswer]:
    """Change a look-up."""
    body, given = call.body, call.body.model_fields_set
    changes: dict[str, object] = {name: getattr(body, name) for name in given - {"headers", "parameters"}}
    if "parameters" in given:
        changes["parameters"] = tuple(each.to_parameter() for each in body.parameters)
    tool = replace(tool_of(await _tool(call)), **changes)  # type: ignore[arg-type]  # checked by the model
    headers = body.headers if "headers" in given else None
    _check(call, tool, headers or {})
    changed = await call.deps.repositories.ai_tools.change(call.merchant_id, tool, headers, call.deps.clock.now())
    return Reply(_shown(_found(changed)))


async def delete_tool(call: Call[NoQuery, NoBody]) -> Reply[BaseModel]:
    """Let the model ask for a look-up no more."""
    if not await call.deps.repositories.ai_tools.remove(call.merchant_id, call.path["toolId"]):
        raise NotFound("Tool not found")
    return nothing()


def _check(call: Call[QueryT, BodyT], tool: Tool, headers: Mapping[str, str]) -> None:
    problems = tool_problems(tool, headers, private_allowed=call.deps.settings.fetch_private_addresses)
    if problems:
        raise InvalidContent("The tool can't be used like this", problems=tuple(problems))


async def _tool(call: Call[QueryT, BodyT]) -> ToolDocument:
    return _found(await call.deps.repositories.ai_tools.get(call.merchant_id, call.path["toolId"]))


def _found(tool: ToolDocument | None) -> ToolDocument:
    if tool is None:
        raise NotFound("Tool not found")
    return tool


def _shown(tool: ToolDocument) -> ToolAnswer:
    return ToolAnswer.model_validate({**tool, "headerNames": [each["name"] for each in tool["headers"]]})


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "POST",
        _ALL,
        add_tool,
        NoQuery,
        CreateTool,
        ToolAnswer,
        summary="Add a tool of the chatbot",
        roles=ADMINS,
        errors=(Conflict,),
        idempotent=True,
    ),
    Route("GET", _ALL, list_tools, Paging, NoBody, ToolAnswer, summary="List the chatbot's tools"),
    Route("GET", _ONE, get_tool, NoQuery, NoBody, ToolAnswer, summary="Get a tool", errors=(NotFound,)),
    Route(
        "PUT",
        _ONE,
        change_tool,
        NoQuery,
        ChangeTool,
        ToolAnswer,
        summary="Change a tool",
        roles=ADMINS,
        errors=(NotFound, Conflict),
    ),
    Route(
        "DELETE",
        _ONE,
        delete_tool,
        NoQuery,
        NoBody,
        BaseModel,
        summary="Delete a tool",
        roles=ADMINS,
        errors=(NotFound,),
    ),
)
