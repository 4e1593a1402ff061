"""The message that the simulated model answers with: in the format that was asked for, or spoiled by a fault."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import orjson

from sandbox.body import JsonObject, as_object
from sandbox.model import tokens
from sandbox.model.dialogue import Answer, Wish, decide
from sandbox.model.faults import ModelFault, ModelFaultKind
from sandbox.model.filling import fill
from sandbox.model.request import ChatRequest

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]

#: The object of the chatbot's answers, for requests that want JSON and bring no schema.
_CHATBOT_FIELDS = ("intent", "confidence", "response", "slots", "requiresEscalation")
_REFUSAL = "I'm sorry, but I can't help with that."


@dataclass(frozen=True, slots=True)
class Reply:
    """One message of the model, and why it ended."""

    content: str | None
    finish_reason: FinishReason = "stop"
    refusal: str | None = None
    wish: Wish | None = None

    @property
    def completion_tokens(self) -> int:
        """What the message is counted as."""
        said = (self.content or "") + (self.refusal or "")
        return tokens.count(said + (self.wish.tool + self.wish.arguments if self.wish else ""))


def reply(request: ChatRequest, fault: ModelFault | None) -> Reply:
    """Return the model's message."""
    whole = _whole(request, decide(request))
    return _within_limit(_spoiled(request, whole, fault) if fault else whole, request.max_tokens)


def _whole(request: ChatRequest, decided: Answer | Wish) -> Reply:
    if isinstance(decided, Wish):
        return Reply(None, "tool_calls", wish=decided)
    return Reply(_written(request, decided))


def _written(request: ChatRequest, answer: Answer) -> str:
    known = answer.known()
    if request.format == "json_schema":
        return orjson.dumps(fill(request.schema, known)).decode()
    # models that know no schemas are told the fields in words
    if request.format == "json_object" or "requiresEscalation" in request.instructions:
        return orjson.dumps({name: known[name] for name in _CHATBOT_FIELDS}).decode()
    return answer.response


def _within_limit(whole: Reply, limit: int | None) -> Reply:
    if limit is None or whole.completion_tokens <= limit:
        return whole
    if whole.wish is not None:
        arguments = tokens.cut(whole.wish.arguments, max(0, limit - tokens.count(whole.wish.tool)))
        return replace(whole, wish=Wish(whole.wish.tool, arguments), finish_reason="length")
    return replace(whole, content=tokens.cut(whole.content or "", limit), finish_reason="length")


def _spoiled(request: ChatRequest, whole: Reply, fault: ModelFault) -> Reply:
    """Return what a fault makes of a message; the kinds that are about HTTP leave it as it is."""
    content = whole.content or "{}"
    result = whole
    match fault.kind:
        case ModelFaultKind.BROKEN_JSON:
            result = Reply(content[:-1] + ", }")
        case ModelFaultKind.SCHEMA_VIOLATED:
            result = Reply(_violating(content))
        case ModelFaultKind.TRUNCATED:
            result = Reply(content[: len(content) // 2], "length")
        case ModelFaultKind.CONTENT_FILTER:
            result = Reply(content[: len(content) // 2], "content_filter")
        case ModelFaultKind.REFUSAL:
            result = Reply(None, refusal=_REFUSAL)
        case ModelFaultKind.EMPTY:
            result = Reply(None)
        case ModelFaultKind.UNOFFERED_TOOL:
            arguments = orjson.dumps({"amount": 1_000_000, "reason": request.last_user_text}).decode()
            result = Reply(None, "tool_calls", wish=Wish(fault.tool, arguments))
        case ModelFaultKind.LEAK:
            leaking = Answer("unknown", 1.0, request.instructions, {}, requires_escalation=False, language="en")
            result = Reply(_written(request, leaking))
        case _:
            pass
    return result


def _violating(content: str) -> str:
    """Return JSON that a strict schema does not allow: a name too many, and each value of another type."""
    try:
        sound = as_object(orjson.loads(content))
    except orjson.JSONDecodeError:
        sound = {}
    wrong: JsonObject = {name: [str(value)] if not isinstance(value, list) else {} for name, value in sound.items()}
    return orjson.dumps({**wrong, "unexpected": True}).decode()
