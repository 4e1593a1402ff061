"""A population of contacts as a large merchant has them: skewed in everything, and the same for the same seed.

One merchant has most of them, in a few accounts of very different sizes; the rest is spread over a thousand others.
Names are of eleven scripts and languages, tags and cities are few that many have and many that few have (Zipf), half of
the contacts have none, attributes are of every type, and the latest interactions are spread over a year.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from random import Random
from uuid import UUID

from domain.contact_names import search_terms
from domain.ids import new_id

Document = dict[str, object]

MERCHANT = str(UUID(int=1))
ACCOUNTS = tuple(str(UUID(int=number)) for number in range(101, 106))

_ACCOUNT_SHARES = (60, 25, 10, 4, 1)
_OTHERS = 1_000
_NAMES: Sequence[tuple[str, int, Sequence[str], Sequence[str]]] = (
    ("en", 34, ("John", "Mary", "James", "Linda", "Olivia", "Noah", "Emma"), ("Smith", "Jones", "Doe", "Miller")),
    ("vi", 22, ("Văn An", "Thị Hoa", "Minh Đức", "Thu Hà", "Quốc Bảo"), ("Nguyễn", "Trần", "Lê", "Phạm", "Hoàng")),
    ("es", 10, ("José", "María", "Lucía", "Ángel", "Íñigo"), ("García", "Muñoz", "Pérez", "López")),
    ("de", 6, ("Jürgen", "Günther", "Käthe", "Lukas"), ("Müller", "Groß", "Schäfer", "Weiß")),
    ("ru", 6, ("Анна", "Иван", "Ольга", "Пётр"), ("Иванов", "Петрова", "Смирнов")),
    ("zh", 6, ("伟", "芳", "秀英", "志强", "小明"), ("王", "李", "张", "刘", "陈")),
    ("ja", 5, ("太郎", "花子", "さくら", "健一"), ("佐藤", "鈴木", "高橋", "田中")),
    ("th", 4, ("สมชาย", "มาลี", "ปรีชา"), ("ใจดี", "ศรีสุข", "ทองดี")),
    ("ar", 3, ("محمد", "فاطمة", "أحمد"), ("العلي", "حسن", "الخطيب")),
    ("ko", 2, ("민준", "서연", "지우"), ("김", "이", "박")),
    ("el", 2, ("Γιώργος", "Ελένη"), ("Παπαδόπουλος", "Νικολάου")),
)
_TAGS = ("vip", "customer", "newsletter", "lead", *(f"tag-{number}" for number in range(296)))
_CITIES = tuple(f"City {number}" for number in range(400))
_PLANS, _PLAN_SHARES = ("free", "basic", "pro", "enterprise"), (70, 22, 7, 1)
_CONSENTS, _CONSENT_SHARES = ("inbound", "none", "opted_in", "opted_out"), (70, 12, 15, 3)
_INTERESTS = ("shoes", "books", "garden", "travel", "games", "music")


def _zipf(count: int) -> list[float]:
    return list(accumulate(1 / rank for rank in range(1, count + 1)))


def population(own: int, others: int, now: datetime, seed: int = 1) -> Iterator[Document]:
    """Yield so many contacts of the merchant, and so many of all others, mixed, oldest first."""
    draw = _Draw(Random(seed), now)
    for number in range(own + others):
        # Spread evenly: after each of the merchant's come the others that are due by then.
        is_other = (number + 1) * others // (own + others) > number * others // (own + others)
        age = 1 - number / (own + others)
        yield draw.contact(number, age, is_other=is_other)


class _Draw:
    """Makes one contact after the other out of random numbers."""

    def __init__(self, random: Random, now: datetime) -> None:
        self._random, self._now = random, now
        self._languages = [entry[0] for entry in _NAMES]
        self._by_language = {entry[0]: entry for entry in _NAMES}
        self._language_shares = list(accumulate(entry[1] for entry in _NAMES))
        self._tags, self._cities, self._merchants = _zipf(len(_TAGS)), _zipf(len(_CITIES)), _zipf(_OTHERS)

    def contact(self, number: int, age: float, *, is_other: bool) -> Document:
        random = self._random
        language = random.choices(self._languages, cum_weights=self._language_shares)[0]
        _, _, given, family = self._by_language[language]
        display_name = f"{random.choice(given)} {random.choice(family)}"
        username = f"{language}_{random.randrange(16**5):05x}{number:x}"
        created = self._now - timedelta(days=900 * age)
        # Most have written of late, some not for a year.
        latest = max(created, self._now - timedelta(days=365 * random.random() ** 2))
        merchant_id, account_id = self._owner(is_other=is_other)
        received = 1 + int(random.paretovariate(1.1)) % 500
        return {
            "_id": new_id(),
            "merchantId": merchant_id,
            "accountId": account_id,
            "twitterUserId": str(1_000_000 + number),
            "username": username,
            "displayName": display_name,
            "profileImageUrl": f"https://pbs.example/{number}.png",
            "searchTerms": search_terms(username, display_name),
            "tags": self._some_tags(),
            "attributes": self._attributes(language),
            "source": random.choices(("message", "follow", "import"), (80, 15, 5))[0],
            "consent": {
                "state": random.choices(_CONSENTS, _CONSENT_SHARES)[0],
                "at": latest,
                "source": "message",
            },
            "conversationCount": 1 + received // 10,
            "messagesSent": received // 2,
            "messagesReceived": received,
            "responseSeconds": 30 * received,
            "responseCount": received // 2,
            "firstInteractionAt": created,
            "lastInteractionAt": latest,
            "createdAt": created,
            "updatedAt": latest,
        }

    def _owner(self, *, is_other: bool) -> tuple[str, str]:
        if not is_other:
            return MERCHANT, self._random.choices(ACCOUNTS, _ACCOUNT_SHARES)[0]
        other = self._random.choices(range(_OTHERS), cum_weights=self._merchants)[0]
        return str(UUID(int=1_000 + other)), str(UUID(int=100_000 + other))

    def _some_tags(self) -> list[str]:
        if self._random.random() < 0.5:
            return []
        drawn = self._random.choices(_TAGS, cum_weights=self._tags, k=self._random.randint(1, 4))
        return list(dict.fromkeys(drawn))

    def _attributes(self, language: str) -> dict[str, object]:
        random = self._random
        if random.random() < 0.5:
            return {}
        found: dict[str, object] = {"preferredLanguage": language}
        found["city"] = random.choices(_CITIES, cum_weights=self._cities)[0]
        found["plan"] = random.choices(_PLANS, _PLAN_SHARES)[0]
        if random.random() < 0.6:
            found["purchaseCount"] = int(random.paretovariate(1.0)) % 1_000
            found["totalSpent"] = round(random.paretovariate(0.9) * 10, 2)
            found["lastPurchaseDate"] = f"{self._now - timedelta(days=730 * random.random()):%Y-%m-%d}"
        if random.random() < 0.3:
            found["newsletter"] = random.random() < 0.8
        if random.random() < 0.2:
            found["interests"] = random.sample(_INTERESTS, random.randint(1, 3))
        return found
