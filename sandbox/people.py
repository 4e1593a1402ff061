"""Who is on the simulated X: shop accounts with their access tokens, and customers."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from sandbox.body import JsonObject
from sandbox.clock import rfc3339

#: Customers of the default world have ids from here on, out of the way of shop accounts.
FIRST_CUSTOMER = 2_000_001
_JOINED_MS = 1_500_000_000_000
_FIRST_NAMES = (
    "Ann",
    "Ben",
    "Chi",
    "Dina",
    "Emil",
    "Fay",
    "Gus",
    "Hana",
    "Ivo",
    "June",
    "Kofi",
    "Linh",
    "Mara",
    "Noor",
)
_LAST_NAMES = ("Adler", "Bauer", "Cruz", "Diaz", "Evans", "Frank", "Gray", "Hoang", "Ito", "Jones", "Kim", "Le", "Mori")


@dataclass(slots=True)
class User:
    """One person or shop on X; `blocked` holds ids whose messages it does not take."""

    id: str
    username: str
    name: str
    picture: str
    is_shop: bool = False
    accepts_messages: bool = True
    joined_ms: int = _JOINED_MS
    blocked: set[str] = field(default_factory=set)

    def v2(self) -> JsonObject:
        """Return the user as v2 shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "username": self.username,
            "profile_image_url": self.picture,
            "created_at": rfc3339(self.joined_ms),
            "protected": False,
            "verified": False,
            "receives_your_dm": self.accepts_messages,
            "public_metrics": {"followers_count": 3, "following_count": 4, "tweet_count": 5, "listed_count": 0},
        }

    def activity(self) -> JsonObject:
        """Return the user as X Activity events carry it."""
        return {"id": self.id, "username": self.username, "name": self.name, "profile_image_url": self.picture}

    def condensed(self) -> JsonObject:
        """Return the user as the `users` map of Account Activity message events carries it."""
        return {
            "id": self.id,
            "created_timestamp": str(self.joined_ms),
            "name": self.name,
            "screen_name": self.username,
            "protected": False,
            "verified": False,
            "followers_count": 3,
            "friends_count": 4,
            "statuses_count": 5,
            "profile_image_url": self.picture,
            "profile_image_url_https": self.picture,
        }

    def classic(self) -> JsonObject:
        """Return the user as v1.1 posts carry it: a number as `id`, text as `id_str`."""
        return {"id": int(self.id), "id_str": self.id, **{k: v for k, v in self.condensed().items() if k != "id"}}


@dataclass(slots=True)
class AccessToken:
    """OAuth 1.0a access token of a shop account."""

    token: str
    secret: str
    user_id: str
    revoked: bool = False


class People:
    """All users by id, and the access tokens of the shops."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._users: dict[str, User] = {}
        self._tokens: dict[str, AccessToken] = {}
        self._next_customer = FIRST_CUSTOMER

    def get(self, user_id: str) -> User | None:
        """Return a user, or None."""
        return self._users.get(user_id)

    def shops(self) -> list[User]:
        """Return the shop accounts, in the order they came."""
        return [user for user in self._users.values() if user.is_shop]

    def customers(self) -> list[User]:
        """Return the customers, in the order they came."""
        return [user for user in self._users.values() if not user.is_shop]

    def add_shop(self, user_id: str, *, username: str = "", name: str = "") -> User:
        """Add a shop account and its token, or make the token of an existing one valid again."""
        user = self._users.get(user_id)
        if user is None or not user.is_shop:
            picture = f"https://pbs.twimg.com/profile_images/{user_id}/shop_normal.jpg"
            user = User(user_id, username or f"shop_{user_id}", name or f"Shop {user_id}", picture, is_shop=True)
            self._users[user_id] = user
        token = AccessToken(f"sandbox-token-{user_id}", f"sandbox-secret-{user_id}", user_id)
        self._tokens[token.token] = token
        return user

    def add_customer(self, user_id: str = "", *, username: str = "", name: str = "") -> User:
        """Add a customer (or return the one with this id); what is not given is drawn from the id and the seed."""
        if not user_id:
            while str(self._next_customer) in self._users:
                self._next_customer += 1
            user_id = str(self._next_customer)
        user = self._users.get(user_id)
        if user is None:
            draw = random.Random(f"{self._seed}/{user_id}")  # noqa: S311 - a believable name, no secret
            first, last = draw.choice(_FIRST_NAMES), draw.choice(_LAST_NAMES)
            picture = f"https://pbs.twimg.com/profile_images/{user_id}/face_normal.jpg"
            handle = username or f"{first.lower()}_{user_id}"
            user = self._users[user_id] = User(user_id, handle, name or f"{first} {last}", picture)
        return user

    def token(self, token: str) -> AccessToken | None:
        """Return an access token that X issued, revoked or not."""
        return self._tokens.get(token)

    def revoke(self, user_id: str) -> None:
        """Make every token of a user invalid."""
        for token in self._tokens.values():
            if token.user_id == user_id:
                token.revoked = True
