"""What the simulated model makes of a conversation: an answer, or first a call of a tool that looks an order up.

The rules only look at what the user wrote and at results of tools. The system prompt is not obeyed, and text of the
user that gives orders to the model is a message like any other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import orjson

from sandbox.body import JsonObject, as_object, as_text
from sandbox.model import intents, shop
from sandbox.model.filling import fill
from sandbox.model.intents import Language, Reading
from sandbox.model.phrases import say
from sandbox.model.request import ChatRequest, Message, Tool

#: How sure the model is of an answer that lacks what it has to ask for.
_ASKING = 0.8


@dataclass(frozen=True, slots=True)
class Wish:
    """The model wants a tool called; `arguments` is JSON text."""

    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The model's answer to the customer."""

    intent: str
    confidence: float
    response: str
    slots: dict[str, str]
    requires_escalation: bool
    language: Language

    def known(self) -> JsonObject:
        """Return what a schema can be filled with; common names for the same thing are all there."""
        return {
            **self.slots,
            "intent": self.intent,
            "confidence": self.confidence,
            "response": self.response,
            "reply": self.response,
            "answer": self.response,
            "message": self.response,
            "slots": self.slots,
            "requiresEscalation": self.requires_escalation,
            "escalate": self.requires_escalation,
            "language": self.language,
        }


def decide(request: ChatRequest) -> Answer | Wish:
    """Return what the model does next."""
    turns = [message.text for message in request.messages if message.role == "user"]
    text = turns[-1] if turns else ""
    language: Language = next(filter(None, map(intents.language, reversed(turns))), "en")
    reading = intents.read(text)
    results = _results(request.messages)
    number = _order_number(reading, turns)
    tool = None if results else _tool(request, number if _looks_up(reading) else "")
    if tool is not None:
        return Wish(tool.name, _arguments(tool, number))
    if _looks_up(reading):
        return _about_order(reading, number, results, language)
    return _about_shop(reading, text, number, language)


def _looks_up(reading: Reading) -> bool:
    return reading.intent == "order_status_query"


def _results(messages: tuple[Message, ...]) -> list[str]:
    """Return what tools have answered since the user wrote last."""
    results: list[str] = []
    for message in reversed(messages):
        if message.role == "user":
            break
        if message.role == "tool":
            results.insert(0, message.text)
    return results


def _order_number(reading: Reading, turns: list[str]) -> str:
    """Return the order that is spoken of: named now, or before where an order is what it is about."""
    spoken_of = turns if _looks_up(reading) else turns[-1:]
    return next(filter(None, (intents.order_number(turn) for turn in reversed(spoken_of))), "")


def _tool(request: ChatRequest, number: str) -> Tool | None:
    """Return the tool to call: one that must be, or one for orders where an order's number is known."""
    choice = request.tool_choice
    if choice == "none":
        return None
    for tool in request.tools:
        if choice == tool.name or (number and choice in ("auto", "required") and "order" in tool.name.casefold()):
            return tool
    return request.tools[0] if choice == "required" else None


def _arguments(tool: Tool, number: str) -> str:
    names = ("orderId", "order", "orderNumber", "orderNo", "number", "id")
    filled = fill({"type": "object", **tool.parameters}, dict.fromkeys(names, number) if number else {})
    return orjson.dumps(filled).decode()


def _about_order(reading: Reading, number: str, results: list[str], language: Language) -> Answer:
    """Answer from what a tool has found, else from the shop's own made-up orders."""
    if not number:
        return _answer(Reading(reading.intent, _ASKING), "ask_order", {}, language)
    slots = {"orderId": number}
    if results:
        facts = _facts(results[-1])
        if not facts:
            return _answer(Reading(reading.intent, _ASKING, True), "order_missing", slots, language, order=number)
        return _answer(reading, "order_found", slots, language, order=number, facts=facts)
    order = shop.order(number)
    missing = order.state == "missing"
    seen = Reading(reading.intent, _ASKING, True) if missing else reading
    phrase = f"order_{order.state}"
    return _answer(seen, phrase, slots, language, order=number, shipped=order.shipped, due=order.due)


def _facts(result: str) -> str:
    """Return a tool's result as a clause, empty where nothing was found."""
    try:
        read = orjson.loads(result)
    except orjson.JSONDecodeError:
        return result.strip().rstrip(".")
    if not isinstance(read, dict):
        return as_text(read)
    found = as_object(read)
    if "error" in found or found.get("found") is False:
        return ""
    ids = ("orderid", "ordernumber", "id", "number", "found")
    facts = [f"{_words(name)} {as_text(value)}" for name, value in found.items() if name.casefold() not in ids]
    return ", ".join(fact for fact in facts if not fact.endswith(" "))


def _words(name: str) -> str:
    """Return a name as words: `shippedOn` as `shipped on`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", name).lower()


def _about_shop(reading: Reading, text: str, number: str, language: Language) -> Answer:
    slots = {"orderId": number} if number else {}
    if reading.intent != "product_query":
        return _answer(reading, reading.intent, slots, language)
    item = shop.product(text)
    if item is None:
        return _answer(Reading(reading.intent, _ASKING), "ask_product", slots, language)
    phrase = "product_available" if item.available else "product_sold_out"
    return _answer(reading, phrase, {**slots, "product": item.name}, language, product=item.name, price=item.price)


def _answer(reading: Reading, phrase: str, slots: dict[str, str], language: Language, **filled: object) -> Answer:
    return Answer(
        intent=reading.intent,
        confidence=reading.confidence,
        response=say(language, phrase, **filled),
        slots=slots,
        requires_escalation=reading.requires_escalation,
        language=language,
    )
