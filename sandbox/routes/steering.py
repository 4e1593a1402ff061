"""What the control API makes happen in the simulated X."""

from __future__ import annotations

from sandbox.body import JsonObject, as_list, as_number, as_object, as_text
from sandbox.events import Event, Kind
from sandbox.fault_orders import WrongFault
from sandbox.limits import WINDOWS, Rule
from sandbox.load import Load, drive
from sandbox.people import User
from sandbox.routes.order import WrongOrder
from sandbox.world import World

_SHAPES = ("nested", "object", "array")


def accounts(world: World, body: JsonObject) -> object:
    """Add shop accounts."""
    ids = [as_text(identifier) for identifier in as_list(body.get("ids"))] or [as_text(body.get("id"))]
    if not all(identifier.isdecimal() for identifier in ids):
        raise WrongOrder("id is needed, decimal digits")
    username, name = as_text(body.get("username")), as_text(body.get("name"))
    shops = [world.add_shop(identifier, username=username, name=name) for identifier in ids]
    return {"accounts": [_shop(user) for user in shops]}


def _shop(user: User) -> JsonObject:
    return {
        "id": user.id,
        "username": user.username,
        "name": user.name,
        "token": f"sandbox-token-{user.id}",
        "secret": f"sandbox-secret-{user.id}",
    }


def customers(world: World, body: JsonObject) -> object:
    """Add customers, or change whether one takes messages."""
    identifier = as_text(body.get("id"))
    count = 1 if identifier else int(as_number(body.get("count"), 1))
    if identifier and not identifier.isdecimal():
        raise WrongOrder("id is decimal digits")
    added = []
    for _ in range(count):
        user = world.add_customer(identifier, username=as_text(body.get("username")), name=as_text(body.get("name")))
        if isinstance(body.get("accepts_messages"), bool):
            user.accepts_messages = body["accepts_messages"] is True
        added.append({"id": user.id, "username": user.username, "name": user.name})
    return {"customers": added}


def say(world: World, body: JsonObject) -> object:
    """Let somebody write in an app of X; a customer that nobody knows yet is made."""
    sender, recipient = as_text(body.get("from")), as_text(body.get("to"))
    text = as_text(body.get("text"))
    for identifier in (sender, recipient):
        if not identifier.isdecimal():
            raise WrongOrder("from and to are user ids")
        world.add_customer(identifier)
    receiving = world.people.get(recipient)
    if receiving is not None and sender in receiving.blocked:
        raise WrongOrder("the recipient has blocked the sender")
    kind = as_text(body.get("media"))
    media: JsonObject | None = {"id": world.ids.next(), "type": kind} if kind else None
    if not text and media is None:
        raise WrongOrder("text is needed")
    reply = body.get("quick_reply")
    message = world.say(sender, recipient, text, quick_reply=reply if isinstance(reply, str) else None, media=media)
    return {"message": message.raw()}


def events(world: World, body: JsonObject) -> object:
    """Let any other event happen to an account."""
    try:
        kind = Kind(as_text(body.get("kind")))
    except ValueError:
        raise WrongOrder(f"kind is one of {', '.join(Kind)}") from None
    account = as_text(body.get("account"))
    if kind is Kind.MESSAGE:
        return say(world, {**body, "from": body.get("actor"), "to": account})
    if world.people.get(account) is None:
        raise WrongOrder("account is the id of a shop")
    own = kind in (Kind.POST, Kind.DELETE, Kind.REVOKE)
    actor = account if own else as_text(body.get("actor"))
    if not actor.isdecimal():
        raise WrongOrder("actor is the id of who does it")
    target = as_text(body.get("target")) or (None if not own else "")
    for identifier in filter(None, (actor, target)):
        world.add_customer(identifier)
    event: Event = world.happen(kind, account, actor, target_id=target, data=body)
    return {"event": {"key": event.key, "id": event.id, "at_ms": event.at_ms}}


def rate(world: World, body: JsonObject) -> object:
    """Set how much customers write and answer, and how many deliveries come twice."""
    new_rate, answers = body.get("rate"), body.get("answers")
    world.customers.change(
        rate=as_number(new_rate) if new_rate is not None else None,
        answers=as_number(answers) if answers is not None else None,
    )
    world.behaviour.duplicates = as_number(body.get("duplicates"), world.behaviour.duplicates)
    manner = world.customers.manner
    return {"rate": manner.rate, "answers": manner.answers, "duplicates": world.behaviour.duplicates}


def behaviour(world: World, body: JsonObject) -> object:
    """Set ways of X that are neither limits nor faults."""
    ways = world.behaviour
    shape = as_text(body.get("subscription_shape"), ways.subscription_shape)
    if shape not in _SHAPES:
        raise WrongOrder(f"subscription_shape is one of {', '.join(_SHAPES)}")
    ways.subscription_shape = shape
    ways.wrap_links = bool(body.get("wrap_links", ways.wrap_links))
    ways.echo_after_s = as_number(body.get("echo_after_s"), ways.echo_after_s)
    ways.webhook_limit = int(as_number(body.get("webhook_limit"), ways.webhook_limit))
    world.courier.ordered = bool(body.get("ordered", world.courier.ordered))
    return {
        "ordered": world.courier.ordered,
        "wrap_links": ways.wrap_links,
        "echo_after_s": ways.echo_after_s,
        "subscription_shape": ways.subscription_shape,
        "webhook_limit": ways.webhook_limit,
    }


def limits(world: World, body: JsonObject) -> object:
    """Change limits; windows that are open go on unless `reset`."""
    if "all" in body:
        world.limits.raise_all(int(as_number(body["all"])))
    if "account_24h" in body:
        world.limits.account_24h = int(as_number(body["account_24h"]))
    for group, changes in as_object(body.get("rules")).items():
        rule = world.limits.rules.get(group)
        if rule is None:
            raise WrongOrder(f"a group of rules is one of {', '.join(world.limits.rules)}")
        _change(rule, as_object(changes))
    if body.get("reset") is True:
        world.limits.reset()
    shown = {group: {name: getattr(rule, name) for name in WINDOWS} for group, rule in world.limits.rules.items()}
    return {"account_24h": world.limits.account_24h, "rules": shown}


def _change(rule: Rule, changes: JsonObject) -> None:
    for name, value in changes.items():
        if name not in WINDOWS:
            raise WrongOrder(f"a window is one of {', '.join(WINDOWS)}")
        setattr(rule, name, None if value is None else int(as_number(value)))


def mark_webhook(world: World, body: JsonObject) -> object:
    """Make a webhook valid or invalid, as X does when challenges fail for long."""
    webhook = world.webhooks.get(as_text(body.get("webhook_id")))
    if webhook is None or not isinstance(body.get("valid"), bool):
        raise WrongOrder("the id of a webhook and valid are needed")
    webhook.valid = body["valid"] is True
    return {"webhook": webhook.v2()}


def add_fault(world: World, body: JsonObject) -> object:
    """Order a fault."""
    try:
        return {"fault": world.faults.order(body).raw()}
    except WrongFault as wrong:
        raise WrongOrder(str(wrong)) from None


def clear_faults(world: World, query: JsonObject) -> object:
    """Remove one fault, or all."""
    identifier = as_text(query.get("id"))
    world.faults.clear(int(identifier) if identifier.isdecimal() else None)
    return {"faults": [fault.raw() for fault in world.faults.ordered]}


def start_load(world: World, body: JsonObject) -> object:
    """Start a load; there is one at a time."""
    count, pace = int(as_number(body.get("count"))), as_number(body.get("rate"))
    if world.load is not None and world.load.ended is None:
        raise WrongOrder("a load is under way")
    named = body.get("accounts")
    open_shops = world.shops_open()
    shops = [as_text(shop) for shop in named] if isinstance(named, list) else open_shops
    if isinstance(named, int):
        shops = open_shops[:named]
    writers = world.customers_list()
    wanted = int(as_number(body.get("customers"), len(writers)))
    while len(writers) < wanted:
        writers.append(world.add_customer())
    if count < 1 or not shops or wanted < 1:
        raise WrongOrder("count, a subscribed account and a customer are needed")
    load = world.load = Load(count, pace)

    def emit(number: int, due: float) -> int:
        writer, shop = writers[number % wanted], shops[number // wanted % len(shops)]
        message = world.compose(writer.id, shop, world.customers.text(), via="app")
        world.keep(message)
        made = world.announce(message, load=load)
        for delivery in made:
            delivery.began = due
        return len(made)

    world.spawn(drive(load, emit))
    return {"load": load.progress()}
