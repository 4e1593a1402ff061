"""Faults that can be ordered from the simulated model server, to see how a client takes them."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from sandbox.body import JsonObject, as_number, as_object, as_text
from sandbox.fault_orders import FaultOrders, Ordered, OrderedFault, WrongFault, kind_of, where_of
from sandbox.model.refusal import RETRY_AFTER_S
from sandbox.model.request import ChatRequest


class ModelFaultKind(StrEnum):
    """What goes wrong with a completion.

    Before the model answers: `error` answers a status (500; 429 and 503 with a Retry-After of `seconds`, else 1),
    `slow` waits `seconds` and then answers, `drop` closes the connection, `no_structured_output` refuses a JSON schema
    as older models do.

    With the answer: `broken_body` is HTTP 200 with half a body, `broken_json` a message that is no JSON,
    `schema_violated` JSON that does not follow the schema, `truncated` stops at the length limit in the middle,
    `content_filter` is held back by the filter, `refusal` is the model saying that it won't, `empty` has no content.

    A model that obeys the text of a stranger: `unoffered_tool` calls a tool that was not offered (`tool`, default
    `issue_refund`), `leak` answers with the system prompt.
    """

    ERROR = "error"
    SLOW = "slow"
    DROP = "drop"
    NO_STRUCTURED_OUTPUT = "no_structured_output"
    BROKEN_BODY = "broken_body"
    BROKEN_JSON = "broken_json"
    SCHEMA_VIOLATED = "schema_violated"
    TRUNCATED = "truncated"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"
    EMPTY = "empty"
    UNOFFERED_TOOL = "unoffered_tool"
    LEAK = "leak"


@dataclass(slots=True)
class ModelFault(OrderedFault):
    """One ordered fault of the model server; `text` is what the user must have said."""

    kind: ModelFaultKind = ModelFaultKind.ERROR
    text: re.Pattern[str] | None = None
    model: str = ""
    seconds: float = RETRY_AFTER_S
    status: int = HTTPStatus.INTERNAL_SERVER_ERROR
    body: JsonObject | None = None
    tool: str = ""

    def raw(self) -> JsonObject:
        """Return the fault as the control API shows it."""
        return self.shown(kind=str(self.kind), text=self.text.pattern if self.text else "", model=self.model)


class ModelFaults(FaultOrders[ModelFault, ChatRequest]):
    """The faults ordered from the model server."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__(draw, _read, _matches)


def _matches(fault: ModelFault, request: ChatRequest) -> bool:
    needs_schema = fault.kind is ModelFaultKind.NO_STRUCTURED_OUTPUT
    return (
        (fault.text is None or fault.text.search(request.last_user_text) is not None)
        and fault.model in ("", request.model)
        and (not needs_schema or request.format == "json_schema")
    )


def _read(wanted: JsonObject, order: Ordered) -> ModelFault:
    kind = kind_of(wanted, ModelFaultKind)
    text, where = where_of(wanted, "text", re.IGNORECASE)
    status = int(as_number(wanted.get("status"), HTTPStatus.INTERNAL_SERVER_ERROR))
    if not HTTPStatus.BAD_REQUEST <= status < 600:  # noqa: PLR2004 - HTTP's own boundary
        raise WrongFault("status must be 400 to 599")
    return ModelFault(
        order,
        kind=kind,
        text=text,
        model=as_text(where.get("model")),
        seconds=as_number(wanted.get("seconds"), RETRY_AFTER_S),
        status=status,
        body=as_object(wanted["body"]) if "body" in wanted else None,
        tool=as_text(wanted.get("tool"), "issue_refund"),
    )
