"""A request for a chat completion, read and checked as OpenAI does.

Source: OpenAI's API reference, "Create chat completion". Streaming and audio are not there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, cast, get_args

import orjson

from sandbox.body import JsonObject, as_list, as_object, as_text
from sandbox.model import strict_schema
from sandbox.model.refusal import invalid, no_model

Role = Literal["system", "developer", "user", "assistant", "tool"]
FormatKind = Literal["text", "json_object", "json_schema"]

#: Models that are listed; any other name of these families is answered for as well.
MODELS: Final = ("gpt-4", "gpt-4-turbo", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini", "gpt-5", "gpt-5-mini")
_KNOWN_MODEL = re.compile(r"(gpt-|chatgpt-|o[1-9])[\w.:-]*")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HOTTEST = 2
_MOST_CHOICES = 8


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool; `arguments` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the conversation; `answers` is the id of the call that a tool's message answers."""

    role: Role
    text: str
    calls: tuple[ToolCall, ...]
    answers: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask for."""

    name: str
    parameters: JsonObject


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What is asked of the model; `tool_choice` is `auto`, `none`, `required` or the name of a tool."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]
    tool_choice: str
    format: FormatKind
    schema: JsonObject
    max_tokens: int | None
    choices: int
    raw: JsonObject

    @property
    def last_user_text(self) -> str:
        """What the user wrote last."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def instructions(self) -> str:
        """The system prompt."""
        return "\n".join(message.text for message in self.messages if message.role in ("system", "developer"))


def read(body: JsonObject) -> ChatRequest:
    """Read a request.

    Raises:
        ModelRefusal: 400 it can't be read, 404 there is no such model.
    """
    model = as_text(body.get("model"))
    if not model:
        raise invalid("you must provide a model parameter")
    messages = _messages(body)
    if body.get("stream"):
        raise invalid("The sandbox does not stream.", param="stream", code="unsupported_value")
    tools = tuple(_tool(as_object(tool), number) for number, tool in enumerate(as_list(body.get("tools"))))
    kind, schema = _format(body, messages)
    _check_temperature(body.get("temperature"))
    if not is_known(model):
        raise no_model(model)
    return ChatRequest(
        model=model,
        messages=messages,
        tools=tools,
        tool_choice=_tool_choice(body.get("tool_choice"), tools),
        format=kind,
        schema=schema,
        max_tokens=_whole(body, "max_completion_tokens") or _whole(body, "max_tokens"),
        choices=_whole(body, "n", _MOST_CHOICES) or 1,
        raw=body,
    )


def is_known(model: str) -> bool:
    """Whether there is a model of this name."""
    return _KNOWN_MODEL.fullmatch(model) is not None


def _messages(body: JsonObject) -> tuple[Message, ...]:
    listed = body.get("messages")
    if not isinstance(listed, list):
        raise invalid("Missing required parameter: 'messages'.", param="messages", code="missing_required_parameter")
    if not listed:
        raise invalid(
            "Invalid 'messages': empty array. Expected an array with minimum length 1.",
            param="messages",
            code="empty_array",
        )
    messages = tuple(_message(as_object(message), number) for number, message in enumerate(listed))
    _check_calls(messages)
    return messages


def _message(raw: JsonObject, number: int) -> Message:
    role, param = as_text(raw.get("role")), f"messages[{number}]"
    if role not in get_args(Role):
        supported = ", ".join(f"'{name}'" for name in get_args(Role))
        raise invalid(
            f"Invalid value: '{role}'. Supported values are: {supported}.", param=f"{param}.role", code="invalid_value"
        )
    calls = tuple(_call(as_object(call)) for call in as_list(raw.get("tool_calls")))
    content = raw.get("content")
    if content is None and not calls and not raw.get("refusal"):
        raise invalid(
            f"Invalid value for 'content': expected a string, got null at {param}.content.", param=f"{param}.content"
        )
    if isinstance(content, list):
        content = "\n".join(as_text(as_object(part).get("text")) for part in content)
    return Message(cast("Role", role), as_text(content), calls, as_text(raw.get("tool_call_id")))


def _call(raw: JsonObject) -> ToolCall:
    function = as_object(raw.get("function"))
    return ToolCall(as_text(raw.get("id")), as_text(function.get("name")), as_text(function.get("arguments")))


def _check_calls(messages: tuple[Message, ...]) -> None:
    """Check that every call of a tool is answered right after it, and that nothing else is answered."""
    waiting: set[str] = set()
    for number, message in enumerate(messages):
        if message.role == "tool":
            if message.answers not in waiting:
                raise invalid(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceding message with "
                    "'tool_calls'.",
                    param=f"messages[{number}].role",
                )
            waiting.discard(message.answers)
        elif waiting:
            break
        else:
            waiting = {call.id for call in message.calls}
    if waiting:
        raise invalid(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(sorted(waiting))}",
            param="messages",
        )


def _tool(raw: JsonObject, number: int) -> Tool:
    function = as_object(raw.get("function"))
    name, parameters = as_text(function.get("name")), as_object(function.get("parameters"))
    if raw.get("type") != "function" or not _NAME.fullmatch(name):
        raise invalid(f"Invalid 'tools[{number}]': a function with a name is needed.", param=f"tools[{number}]")
    if function.get("strict") is True:
        _check_schema(f"function '{name}'", parameters, f"tools[{number}].function.parameters")
    return Tool(name, parameters)


def _tool_choice(raw: object, tools: tuple[Tool, ...]) -> str:
    choice = raw if isinstance(raw, str) else as_text(as_object(as_object(raw).get("function")).get("name"), "auto")
    if raw is not None and not tools:
        raise invalid("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    if choice not in ("auto", "none", "required", *(tool.name for tool in tools)):
        raise invalid(f"Tool choice '{choice}' not found in 'tools' parameter.", param="tool_choice")
    return choice


def _format(body: JsonObject, messages: tuple[Message, ...]) -> tuple[FormatKind, JsonObject]:
    """Return the kind of answer that is asked for, and the schema that it follows."""
    raw = as_object(body.get("response_format"))
    kind = as_text(raw.get("type"), "text")
    if kind not in get_args(FormatKind):
        raise invalid(f"Invalid value: '{kind}'.", param="response_format.type", code="invalid_value")
    if kind == "json_object" and not any("json" in message.text.casefold() for message in messages):
        raise invalid(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
            param="messages",
        )
    if kind != "json_schema":
        return cast("FormatKind", kind), {}
    asked = as_object(raw.get("json_schema"))
    name, schema = as_text(asked.get("name")), as_object(asked.get("schema"))
    if not _NAME.fullmatch(name):
        raise invalid("Invalid 'response_format.json_schema.name'.", param="response_format.json_schema.name")
    if asked.get("strict") is True:
        _check_schema(f"response_format '{name}'", schema, "response_format")
    return "json_schema", schema


def _check_schema(what: str, schema: JsonObject, param: str) -> None:
    try:
        strict_schema.check(schema)
    except strict_schema.WrongSchema as wrong:
        raise invalid(f"Invalid schema for {what}: {wrong}", param=param, code="invalid_json_schema") from None


def _check_temperature(raw: object) -> None:
    if raw is not None and not (isinstance(raw, int | float) and not isinstance(raw, bool) and 0 <= raw <= _HOTTEST):
        text = orjson.dumps(raw).decode()
        raise invalid(
            f"Invalid 'temperature': expected a number from 0 to 2, but got {text} instead.", param="temperature"
        )


def _whole(body: JsonObject, name: str, most: int | None = None) -> int | None:
    raw = body.get(name)
    if raw is None:
        return None
    if not isinstance(raw, int) or isinstance(raw, bool) or raw < 1 or (most is not None and raw > most):
        raise invalid(f"Invalid '{name}': integer below minimum value or above maximum value.", param=name)
    return raw
