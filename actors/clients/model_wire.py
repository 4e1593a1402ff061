"""A call of a model's server as it goes over the wire, and its answer as it comes back: OpenAI's chat completions.

What comes back is read here from its bytes: OpenAI's client takes whatever a server sends for the types that it should
be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

from actors.clients.model_dialect import Dialect
from domain.dialogue_answer import SCHEMA, SCHEMA_NAME
from domain.dialogue_prompt import PromptMessage, WishedCall, size_of
from domain.dialogue_tool_calls import schema_of
from domain.dialogue_tools import Tool
from domain.dialogue_turns import tokens_of

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageFunctionToolCallParam, ChatCompletionMessageParam

_LARGEST_BODY = 4 * 1024 * 1024
_MOST_TOKENS = 10_000_000


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What a model is asked. `until` is the loop's time at which nobody waits any more for the answer.

    Tools are described also where `may_call` is false: the dialogue may hold calls of them.
    """

    merchant_id: str
    model: str
    temperature: float
    max_tokens: int
    messages: Sequence[PromptMessage]
    until: float
    tools: Sequence[Tool] = ()
    may_call: bool = True


@dataclass(frozen=True, slots=True)
class ModelReply:
    """A model's message, unchecked: its text, the look-ups that it wants, why it ended, and what it cost in tokens."""

    content: str
    calls: tuple[WishedCall, ...]
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int

    @property
    def tokens(self) -> int:
        """All tokens of the call."""
        return self.prompt_tokens + self.completion_tokens


def fields_of(request: ModelRequest, dialect: Dialect) -> dict[str, object]:
    """Return the fields of a call that not every server takes."""
    fields: dict[str, object] = {dialect.limit: request.max_tokens}
    if dialect.temperature:
        fields["temperature"] = request.temperature
    if dialect.form == "json_schema":
        schema = {"name": SCHEMA_NAME, "strict": True, "schema": SCHEMA}
        fields["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif dialect.form == "json_object":
        fields["response_format"] = {"type": "json_object"}
    if request.tools and dialect.tools:
        fields["tools"] = [{"type": "function", "function": _function(tool)} for tool in request.tools]
        fields["tool_choice"] = "auto" if request.may_call else "none"
    return fields


def _function(tool: Tool) -> dict[str, object]:
    return {"name": tool.name, "description": tool.description, "strict": True, "parameters": schema_of(tool)}


def message_of(message: PromptMessage) -> ChatCompletionMessageParam:
    """Return a message as the server takes it."""
    match message.role:
        case "system":
            return {"role": "system", "content": message.content}
        case "user":
            return {"role": "user", "content": message.content}
        case "tool":
            return {"role": "tool", "content": message.content, "tool_call_id": message.answers}
        case "assistant" if message.calls:
            calls: list[ChatCompletionMessageFunctionToolCallParam] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in message.calls
            ]
            return {"role": "assistant", "content": message.content or None, "tool_calls": calls}
        case "assistant":
            return {"role": "assistant", "content": message.content}


def read_reply(body: bytes, request: ModelRequest) -> ModelReply | None:
    """Return what a server's answer says, None where it is no completion; never raises, whatever the bytes are."""
    try:
        whole: object = orjson.loads(body) if len(body) <= _LARGEST_BODY else None
    except orjson.JSONDecodeError:
        return None
    choices = _list(_object(whole).get("choices"))
    message = _object(_object(choices[0]).get("message")) if choices else {}
    if not message:
        return None
    content = _text(message.get("content"))
    calls = tuple(_calls(_list(message.get("tool_calls")), len(request.messages)))
    usage = _object(_object(whole).get("usage"))
    written = tokens_of(content) + sum(tokens_of(call.name + call.arguments) for call in calls)
    return ModelReply(
        content=content,
        calls=calls,
        finish_reason=_text(_object(choices[0]).get("finish_reason")),
        prompt_tokens=_count(usage.get("prompt_tokens"), size_of(request.messages)),
        completion_tokens=_count(usage.get("completion_tokens"), written),
    )


def _calls(raw: Sequence[object], place: int) -> Iterator[WishedCall]:
    for number, each in enumerate(raw):
        function = _object(_object(each).get("function"))
        # The ids are ours: one that a server leaves out, or gives twice, would have the next call refused.
        yield WishedCall(f"call_{place}_{number}", _text(function.get("name")), _text(function.get("arguments")))


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    """Return a text, or the texts of the parts that some servers make of one."""
    if isinstance(value, list):
        return "".join(_text(_object(part).get("text")) for part in value)
    return value if isinstance(value, str) else ""


def _count(value: object, otherwise: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST_TOKENS:
        return otherwise
    return value
