"""The shop that the simulated model answers for: its made-up orders and its small catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

OrderState = Literal["processing", "shipped", "delivered", "missing"]

_STATES: Final[tuple[OrderState, ...]] = ("processing", "shipped", "delivered", "missing")
_DAYS_OF_SHIPPING: Final = 19
_DAYS_ON_THE_WAY: Final = 5


@dataclass(frozen=True, slots=True)
class Order:
    """One order: days are days of January."""

    number: str
    state: OrderState
    shipped: int
    due: int


@dataclass(frozen=True, slots=True)
class Product:
    """Something that is sold."""

    name: str
    words: tuple[str, ...]
    price: str
    available: bool


CATALOGUE: Final = (
    Product("blue jacket", ("jacket", "jacke", "áo khoác"), "$49.90", available=True),
    Product("canvas tote", ("tote", "tasche", "túi"), "$19.90", available=True),
    Product("sneakers", ("sneaker", "turnschuh", "giày"), "$79.00", available=True),
    Product("wool scarf", ("scarf", "schal", "khăn"), "$24.50", available=False),
)


def order(number: str) -> Order:
    """Return the order of a number; the number decides its state, so that it is the same whenever somebody asks.

    Order 12345 was shipped on January 15 and is due on January 20, as in the API's own example.
    """
    digits = int(number)
    shipped = 1 + digits % _DAYS_OF_SHIPPING
    return Order(number, _STATES[digits % len(_STATES)], shipped, shipped + _DAYS_ON_THE_WAY)


def product(text: str) -> Product | None:
    """Return the product that a text speaks of."""
    plain = text.casefold()
    return next((item for item in CATALOGUE if any(word in plain for word in item.words)), None)
