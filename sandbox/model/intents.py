"""What a customer of a shop wants, told by rules from the words: English, German, Vietnamese."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

Language = Literal["en", "de", "vi"]

#: How sure the model is when no rule fits, below any sensible threshold for escalation.
UNSURE: Final = 0.3


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message was taken for."""

    intent: str
    confidence: float
    requires_escalation: bool = False


@dataclass(frozen=True, slots=True)
class _Rule:
    reading: Reading
    words: re.Pattern[str]


def _rule(intent: str, confidence: float, *, en: str, de: str, vi: str, escalates: bool = False) -> _Rule:
    # a word may go on ("return", "returns"), but begins where the pattern begins
    words = re.compile(rf"(?<!\w)(?:{en}|{de}|{vi})")
    return _Rule(Reading(intent, confidence, escalates), words)


#: The first rule that fits says what it is, so that the weightier wish comes before the politer one.
_RULES: Final = (
    _rule(
        "human_request",
        0.95,
        en=r"(?:speak|talk|chat) (?:to|with) (?:a|an|some)\b|(?:speak|talk) to (?:some|any)(?:one|body)"
        r"|(?:a|an|real|live) (?:human|agent|real person)\b",
        de=r"mitarbeiter|kundendienst|(?:echte[nmr]?|mit einem) mensch",
        vi=r"nhân viên|người thật|nhan vien|nguoi that",
        escalates=True,
    ),
    _rule(
        "complaint",
        0.9,
        en=r"complain|damaged|broken|defect|terrible|awful|unacceptable|angry|furious|scam|worst|disappoint|rip-?off",
        de=r"beschwer|beschädigt|kaputt|unverschämt|enttäuscht|betrug",
        vi=r"khiếu nại|hỏng|tệ\b|lừa đảo|thất vọng|khieu nai",
        escalates=True,
    ),
    _rule("order_cancellation", 0.9, en="cancel", de="stornier", vi="hủy đơn|huỷ đơn|huy don", escalates=True),
    _rule(
        "return_request",
        0.9,
        en=r"return|refund|exchange|send (?:it|them|this) back|money back",
        de=r"rückgabe|zurückgeben|zurücksenden|umtausch|erstattung|geld zurück",
        vi=r"trả hàng|hoàn tiền|đổi hàng|đổi trả|tra hang|hoan tien",
    ),
    _rule(
        "payment_query",
        0.9,
        en=r"pay\b|paying|payment|credit card|paypal",
        de=r"bezahl|zahlung|rechnung",
        vi=r"thanh toán|thanh toan",
    ),
    _rule(
        "order_status_query",
        0.9,
        en=r"(?<!in )order|my (?:parcel|package|delivery)|status of|tracking|track\b|where is",
        de=r"bestell|meine? (?:paket|lieferung)|wo (?:ist|bleibt)",  # codespell:ignore
        vi=r"đơn hàng|don hang",
    ),
    _rule(
        "opening_hours_query",
        0.9,
        en=r"opening (?:hours|times)|business hours|(?:are|do) you (?:\w+ )?open|what time|open (?:today|on)",
        de=r"öffnungszeit|geöffnet|wann (?:habt|haben|macht|machen)",
        vi=r"mở cửa|giờ làm việc|mo cua",
    ),
    _rule(
        "shipping_query",
        0.85,
        en=r"shipping|ship\b|deliver|how long",
        de=r"versand|lieferzeit|liefert",
        vi=r"giao hàng|vận chuyển|phí ship|giao hang",
    ),
    _rule(
        "product_query",
        0.85,
        en=r"how much|price|costs?\b|availab|in stock|size|do you (?:have|sell)",
        de=r"preis|kostet|verfügbar|lieferbar|vorrätig|auf lager|größe",
        vi=r"bao nhiêu|giá\b|còn hàng|còn không|bao nhieu",
    ),
    _rule("thanks", 0.9, en=r"thank|thx\b", de="danke|vielen dank", vi="cảm ơn|cám ơn|cam on"),
    _rule("goodbye", 0.9, en=r"(?:good)?bye\b|see you", de="tschüss|tschüs|auf wiedersehen", vi="tạm biệt|tam biet"),
    _rule(
        "greeting",
        0.9,
        en=r"(?:hi|hello|hey)\b|good (?:morning|afternoon|evening|day)\b",
        de=r"(?:hallo|moin|servus)\b|guten (?:morgen|tag|abend)",
        vi=r"xin chào|chào\b|xin chao",
    ),
)
_UNKNOWN: Final = Reading("unknown", UNSURE)
_NUMBERED: Final = Reading("order_status_query", 0.95)

_ORDER_NUMBER = re.compile(
    r"#\s?(\d{3,12})\b"
    r"|(?:order|bestellung|bestellnummer|đơn hàng|don hang)\s*(?:number|nummer|no\.?|nr\.?|số)?\s*:?\s*(\d{3,12})\b"
    r"|^\W*(\d{3,12})\W*$"
)
_VIETNAMESE = re.compile(
    r"[ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]|\b(?:xin chao|cam on|don hang|bao nhieu)\b"
)
_GERMAN = re.compile(
    r"[äöüß]|\b(?:hallo|guten|ich|wo|wann|wie|bitte|danke|meine?r?|einen?|nicht|und|bestellung|haben|habt|kostet)\b"
)
_LETTERS = re.compile(r"[^\W\d_]{2}")


def read(text: str) -> Reading:
    """Return what a message is about; order numbers make it a question for an order's state."""
    plain = _plain(text)
    for rule in _RULES:
        if rule.words.search(plain):
            asks_of_order = rule.reading.intent == _NUMBERED.intent and order_number(text)
            return _NUMBERED if asks_of_order else rule.reading
    return _NUMBERED if order_number(text) else _UNKNOWN


def order_number(text: str) -> str:
    """Return the digits of the order that a message names, empty where it names none."""
    found = _ORDER_NUMBER.search(_plain(text))
    return next(filter(None, found.groups()), "") if found else ""


def language(text: str) -> Language | None:
    """Return the language of a message, None where there are no words to tell it from."""
    plain = _plain(text)
    if _VIETNAMESE.search(plain):
        return "vi"
    if _GERMAN.search(plain):
        return "de"
    return "en" if _LETTERS.search(plain) else None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
