"""The control API of the simulated model server.

- `GET /sandbox/model/requests`: completions that were asked for, oldest first, each `{number, body, fault, status,
  finishReason, tokens}`, with `total` and, by status, `refused`; `skip, take` (1000). `DELETE` forgets them.
- `GET, POST, DELETE /sandbox/model/faults` `{kind, match?, count?, probability?, seconds?, status?, body?, tool?}`: see
  `sandbox.model.faults.ModelFaultKind`; `match` is a pattern for what the user wrote last, or `{text, model}`; `DELETE`
  takes `?id=`. Without `count` and `probability` a fault happens once.

A wrong body is answered 400 `{"error": …}`.
"""

from __future__ import annotations

from itertools import islice

from aiohttp import web

from sandbox.body import JsonObject, answer, read_object
from sandbox.fault_orders import WrongFault
from sandbox.model.model import MODEL, Model

_PAGE = 1000


def routes() -> list[web.RouteDef]:
    """Return the routes of the control API."""
    return [
        web.get("/sandbox/model/requests", _requests),
        web.delete("/sandbox/model/requests", _forget),
        web.get("/sandbox/model/faults", _faults),
        web.post("/sandbox/model/faults", _order),
        web.delete("/sandbox/model/faults", _clear),
    ]


async def _requests(request: web.Request) -> web.Response:
    model = request.app[MODEL]
    try:
        skip, take = int(request.query.get("skip", 0)), int(request.query.get("take", _PAGE))
    except ValueError:
        return answer({"error": "skip and take are whole numbers"}, 400)
    shown = islice(model.asked, max(0, skip), max(0, skip) + max(0, take))
    refused = {str(status): times for status, times in model.refused.items()}
    return answer({"total": model.total, "refused": refused, "requests": [asked.raw() for asked in shown]})


async def _forget(request: web.Request) -> web.Response:
    request.app[MODEL].forget()
    return answer({"total": 0})


async def _faults(request: web.Request) -> web.Response:
    return answer(_listed(request.app[MODEL]))


async def _order(request: web.Request) -> web.Response:
    body = await read_object(request)
    if body is None:
        return answer({"error": "the body must be a JSON object"}, 400)
    try:
        return answer({"fault": request.app[MODEL].faults.order(body).raw()})
    except WrongFault as wrong:
        return answer({"error": str(wrong)}, 400)


async def _clear(request: web.Request) -> web.Response:
    model, identifier = request.app[MODEL], request.query.get("id", "")
    if identifier and not identifier.isdecimal():
        return answer({"error": "id is a whole number"}, 400)
    model.faults.clear(int(identifier) if identifier else None)
    return answer(_listed(model))


def _listed(model: Model) -> JsonObject:
    return {"faults": [fault.raw() for fault in model.faults.ordered]}
