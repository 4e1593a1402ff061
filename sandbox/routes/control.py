"""The control API: how tests, `simulate` and people look into the simulated X and steer it.

- `GET /sandbox/state`: counts of everything.
- `GET /sandbox/messages`: accepted messages, oldest first; `account, participant, sender, since` (id or milliseconds),
  `skip, take` (1000).
- `POST /sandbox/accounts` `{id, username?, name?}` or `{ids: […]}`: shop accounts with tokens; revives revoked ones.
- `POST /sandbox/customers` `{count?}` or `{id, username?, name?, accepts_messages?}`: customers.
- `POST /sandbox/say` `{from, to, text, quick_reply?, media?: "photo"}`: somebody writes in an app of X; from a shop, it
  is a message that a person at the shop sent there.
- `POST /sandbox/events` `{kind, account, actor?, target?, text?, post_id?, last_read_event_id?, id?}`: any other event,
  see `sandbox.events.Kind`; `actor` does it to `target`, by default the account.
- `POST /sandbox/rate` `{rate?, answers?, duplicates?}`: customers' messages a second, and shares 0 to 1.
- `POST /sandbox/behaviour` `{ordered?, wrap_links?, echo_after_s?, subscription_shape?, webhook_limit?}`: ways of X.
- `POST /sandbox/limits` `{all?, account_24h?, reset?, rules?: {group: {user_15m?, user_24h?, app_15m?, app_24h?}}}`.
- `POST /sandbox/webhooks/:id` `{valid}`: mark a webhook valid or invalid.
- `GET, POST, DELETE /sandbox/faults` `{kind, match?, count?, probability?, seconds?, status?, body?, headers?, code?,
  error?, echo?}`: see `sandbox.faults.FaultKind`; `match` is a pattern for the path, or `{path, method, account,
  participant}`; `DELETE` takes `?id=`. Without `count` and `probability` a fault happens once.
- `GET /sandbox/deliveries`: what was delivered and how it was answered; `account, kind, key, outcome, skip, take`.
- `GET, POST /sandbox/load` `{count, rate, customers?, accounts?}`: a load of customer messages, and its progress.

The model server has a control API of its own under `/sandbox/model`: see `sandbox.model.control`.
Beside it, `GET /sandbox/web/…` stands in for example.com: a small file of the kind that the name ends in, else a page.

A wrong body is answered 400 `{"error": …}`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from sandbox.body import JsonObject, answer, read_object
from sandbox.endpoint import WORLD
from sandbox.routes import looking, steering
from sandbox.routes.order import Order, WrongOrder

_ORDERS: tuple[tuple[str, str, Order], ...] = (
    ("GET", "/sandbox/state", looking.state),
    ("GET", "/sandbox/messages", looking.messages),
    ("GET", "/sandbox/deliveries", looking.deliveries),
    ("GET", "/sandbox/faults", looking.list_faults),
    ("GET", "/sandbox/load", looking.progress),
    ("POST", "/sandbox/accounts", steering.accounts),
    ("POST", "/sandbox/customers", steering.customers),
    ("POST", "/sandbox/say", steering.say),
    ("POST", "/sandbox/events", steering.events),
    ("POST", "/sandbox/rate", steering.rate),
    ("POST", "/sandbox/behaviour", steering.behaviour),
    ("POST", "/sandbox/limits", steering.limits),
    ("POST", "/sandbox/webhooks/{webhook_id}", steering.mark_webhook),
    ("POST", "/sandbox/faults", steering.add_fault),
    ("DELETE", "/sandbox/faults", steering.clear_faults),
    ("POST", "/sandbox/load", steering.start_load),
)


def _handler(order: Order) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def serve(request: web.Request) -> web.Response:
        given: JsonObject | None = {**request.query, **request.match_info}
        if request.method == "POST":
            body = await read_object(request)
            given = None if body is None else {**body, **request.match_info}
        if given is None:
            return answer({"error": "the body must be a JSON object"}, 400)
        try:
            return answer(order(request.app[WORLD], given))
        except WrongOrder as wrong:
            return answer({"error": str(wrong)}, 400)

    return serve


def routes() -> list[web.RouteDef]:
    """Return the routes of the control API."""
    return [web.route(method, path, _handler(order)) for method, path, order in _ORDERS]
