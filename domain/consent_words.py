"""The words by which people stop and start automatic messages, in the languages they write in.

The English ones are those that carriers require of text messages (CTIA, "Messaging Principles and Best Practices"),
which people expect to work everywhere.
"""

from __future__ import annotations

#: Work for every account, whatever words it has set.
ALWAYS_STOP = ("stop", "unsubscribe")

STOP_WORDS = (
    # English
    *("stop", "stop all", "stopall", "unsubscribe", "unsubscribe me", "opt out", "optout", "opt me out", "cancel"),
    *("end", "quit", "revoke", "please stop", "stop please", "stop messages", "stop messaging me", "remove me"),
    # German, Dutch, Danish, Norwegian, Swedish, Finnish
    *("stopp", "abmelden", "abbestellen", "austragen", "afmelden", "uitschrijven", "stoppen", "afmeld", "frameld"),
    *("avmeld", "meld av", "avsluta", "avregistrera", "avprenumerera", "lopeta"),
    # French, Spanish, Catalan, Portuguese, Italian, Romanian
    *("arret", "arreter", "arretez", "desabonner", "desinscrire", "desinscription", "me desabonner", "alto", "baja"),
    *("darme de baja", "parar", "desuscribir", "cancelar suscripcion", "atura", "pare", "sair", "descadastrar"),
    *("cancelar inscricao", "disiscrivi", "disiscrivimi", "cancellami", "annulla iscrizione", "dezabonare", "opreste"),
    # Polish, Czech, Slovak, Hungarian, Croatian, Greek
    *("wypisz", "wypisz mnie", "rezygnuje", "odhlasit", "odhlas", "leiratkozas", "leiratkozom", "odjava"),
    *("διακοπη", "στοπ", "διαγραφη"),
    # Russian, Ukrainian, Bulgarian
    *("стоп", "отписаться", "отписка", "отпишите", "отпиши", "відписатися", "відписка", "спри", "отписване"),
    # Turkish, Arabic, Persian, Hebrew
    *(
        "dur",
        "durdur",
        "iptal",
        "abonelikten cik",
        "توقف",
        "إيقاف",
        "إلغاء الاشتراك",
        "الغاء الاشتراك",
        "لغو",
        "لغو اشتراک",
    ),
    *("הסר", "הסרה", "עצור"),
    # Hindi, Bengali
    *("रोकें", "रोको", "बंद करो", "बंद करें", "বন্ধ", "বন্ধ করুন"),
    # Japanese, Chinese, Korean
    *("停止", "配信停止", "ストップ", "解除", "退订", "退訂", "取消订阅", "取消訂閱", "중지", "수신거부", "그만"),
    # Indonesian, Malay, Filipino, Vietnamese, Thai, Swahili
    *("berhenti", "berhenti langganan", "henti", "itigil", "dừng", "dừng lại", "hủy đăng ký", "หยุด", "ยกเลิกรับข่าวสาร"),
    "simamisha",
)

START_WORDS = (
    *("start", "unstop", "subscribe", "resubscribe", "opt in", "optin"),
    *("anmelden", "aanmelden", "abonner", "reprendre", "suscribir", "suscribirme", "inscrever", "assinar", "iscrivimi"),
    *("zapisz", "старт", "подписаться", "підписатися", "başla", "abone ol", "ابدأ", "اشتراك", "התחל", "शुरू"),
    *("開始", "开始", "登録", "订阅", "訂閱", "시작", "수신동의", "mulai", "bắt đầu", "đăng ký", "เริ่ม"),
)
