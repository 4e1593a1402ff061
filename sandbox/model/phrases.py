"""What the simulated model says, in each of its languages; braces are filled in."""

from __future__ import annotations

from typing import Final

from sandbox.model.intents import Language

_ENGLISH: Final = {
    "greeting": "Hello! How can I help you today?",
    "ask_order": "I'd be happy to help! What's your order number?",
    "order_processing": "Order #{order} is being prepared and has not left our warehouse yet.",
    "order_shipped": "Let me check that for you. Order #{order} was shipped on January {shipped} and is expected to "
    "arrive on January {due}.",
    "order_delivered": "Order #{order} was delivered on January {due}.",
    "order_missing": "I can't find order #{order}. A colleague will look into it.",
    "order_found": "Order #{order}: {facts}.",
    "opening_hours_query": "We are open Monday to Friday from 9:00 to 18:00 and Saturday from 10:00 to 16:00.",
    "return_request": "You can return or exchange anything within 30 days of delivery. "
    "Tell me your order number and I'll send you a return label.",
    "payment_query": "You can pay by card, by PayPal or in cash on delivery.",
    "shipping_query": "We ship everywhere; it takes 3 to 5 working days.",
    "product_available": "The {product} is available and costs {price}.",
    "product_sold_out": "The {product} ({price}) is sold out at the moment.",
    "ask_product": "Which product are you interested in?",
    "order_cancellation": "I'll hand this over to a colleague who can cancel your order.",
    "complaint": "I'm sorry about that. A colleague will take care of it right away.",
    "human_request": "Of course. I'll connect you with a colleague.",
    "thanks": "You're welcome! Is there anything else I can do?",
    "goodbye": "Goodbye, and have a nice day!",
    "unknown": "I'm not sure that I understood you. A colleague will have a look.",
}
_GERMAN: Final = {
    "greeting": "Hallo! Wie kann ich helfen?",
    "ask_order": "Das mache ich gern! Wie lautet die Bestellnummer?",
    "order_processing": "Bestellung #{order} wird gerade vorbereitet und wurde noch nicht verschickt.",
    "order_shipped": "Bestellung #{order} wurde am {shipped}.1. verschickt und kommt voraussichtlich am {due}.1. an.",
    "order_delivered": "Bestellung #{order} wurde am {due}.1. zugestellt.",
    "order_missing": "Bestellung #{order} kenne ich nicht. Ein Kollege sieht nach.",
    "order_found": "Bestellung #{order}: {facts}.",
    "opening_hours_query": "Wir haben Montag bis Freitag von 9 bis 18 Uhr und Samstag von 10 bis 16 Uhr geöffnet.",
    "return_request": "Innerhalb von 30 Tagen nach der Lieferung kann alles zurückgegeben und umgetauscht werden. "
    "Wie lautet die Bestellnummer?",
    "payment_query": "Bezahlt werden kann mit Karte, mit PayPal und bar bei der Lieferung.",
    "shipping_query": "Wir liefern überallhin, in 3 bis 5 Werktagen.",
    "product_available": "{product}: lieferbar, {price}.",
    "product_sold_out": "{product} ({price}): zurzeit ausverkauft.",
    "ask_product": "Um welchen Artikel geht es?",
    "order_cancellation": "Ich gebe das an einen Kollegen weiter, der die Bestellung stornieren kann.",
    "complaint": "Das tut mir leid. Ein Kollege kümmert sich sofort darum.",
    "human_request": "Gern, ich verbinde mit einem Kollegen.",
    "thanks": "Gern geschehen! Kann ich sonst noch etwas tun?",
    "goodbye": "Auf Wiedersehen und einen schönen Tag!",
    "unknown": "Das habe ich leider nicht verstanden. Ein Kollege sieht es sich an.",
}
_VIETNAMESE: Final = {
    "greeting": "Xin chào! Tôi có thể giúp gì cho bạn?",
    "ask_order": "Tôi rất sẵn lòng giúp! Mã đơn hàng của bạn là gì?",
    "order_processing": "Đơn hàng #{order} đang được chuẩn bị và chưa rời kho.",
    "order_shipped": "Đơn hàng #{order} đã được gửi ngày {shipped} tháng 1 và dự kiến đến ngày {due} tháng 1.",
    "order_delivered": "Đơn hàng #{order} đã được giao ngày {due} tháng 1.",
    "order_missing": "Tôi không tìm thấy đơn hàng #{order}. Đồng nghiệp của tôi sẽ kiểm tra.",
    "order_found": "Đơn hàng #{order}: {facts}.",
    "opening_hours_query": "Chúng tôi mở cửa từ thứ Hai đến thứ Sáu, 9:00-18:00, và thứ Bảy, 10:00-16:00.",
    "return_request": "Bạn có thể đổi trả trong vòng 30 ngày sau khi nhận hàng. Mã đơn hàng của bạn là gì?",
    "payment_query": "Bạn có thể trả bằng thẻ, PayPal hoặc tiền mặt khi nhận hàng.",
    "shipping_query": "Chúng tôi giao hàng mọi nơi trong 3 đến 5 ngày làm việc.",
    "product_available": "{product}: còn hàng, giá {price}.",
    "product_sold_out": "{product} ({price}): hiện đã hết hàng.",
    "ask_product": "Bạn quan tâm đến sản phẩm nào?",
    "order_cancellation": "Tôi sẽ chuyển cho đồng nghiệp để hủy đơn hàng của bạn.",
    "complaint": "Tôi rất xin lỗi. Đồng nghiệp của tôi sẽ xử lý ngay.",
    "human_request": "Vâng, tôi sẽ kết nối bạn với một đồng nghiệp.",
    "thanks": "Không có gì! Tôi có thể giúp gì thêm không?",
    "goodbye": "Tạm biệt, chúc bạn một ngày tốt lành!",
    "unknown": "Xin lỗi, tôi chưa hiểu ý bạn. Đồng nghiệp của tôi sẽ xem giúp.",
}
_ALL: Final[dict[Language, dict[str, str]]] = {"en": _ENGLISH, "de": _GERMAN, "vi": _VIETNAMESE}


def say(language: Language, phrase: str, **filled: object) -> str:
    """Return a phrase in a language."""
    return _ALL[language][phrase].format(**filled)
