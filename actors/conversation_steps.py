"""What a situation is to the chatbot, what it asks its model in it, and what step an answer is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from domain.bot_context import Heard
from domain.bot_rules import Standing, standing
from domain.dialogue_exchange import Asker, ModelAnswer, Question, slots_after
from domain.dialogue_settings import CONTEXT_TOKENS
from domain.dialogue_turns import Turn, bounded
from domain.ids import related_id
from storage.ai_sessions import MOST_MESSAGE_IDS, AiSessionDocument, session_id_of, turn_documents, turns_of
from storage.bot_steps import Escalation, Saying, Situation, Step

#: Set the ids of the chatbot's messages apart from that of the message that they answer.
_ANSWER: Final = 0xB07
_AWAY: Final = 0xA3A
_BOT = "bot"
#: After so many delays a customer who goes on writing gets a first answer.
_MOST_DELAYS = 5


def question_of(
    situation: Situation,
    session: AiSessionDocument | None,
    before: Sequence[Turn],
    texts: tuple[str, ...],
    instructions: str | None = None,
) -> Question:
    """Return what the model is asked: `texts`, after what the session has and what was said besides."""
    conversation = situation.conversation
    return Question(
        merchant_id=conversation["merchantId"],
        asker=Asker(
            account_id=conversation["accountId"],
            conversation_id=conversation["_id"],
            contact_id=conversation["contactId"],
            twitter_user_id=conversation["twitterUserId"],
            username=situation.contact["username"],
        ),
        settings=situation.settings,
        texts=texts,
        context=(*turns_of(session), *before),
        instructions=instructions,
    )


def answer_step(
    situation: Situation,
    session: AiSessionDocument | None,
    new: Heard,
    message_id: str | None,
    answer: ModelAnswer,
    now: datetime,
    *,
    only_if_newest: bool,
    said_id: str | None = None,
) -> Step:
    """Return the step that an answer of the model is.

    `message_id` is the newest message that it answers; the chatbot's own has an id that follows from it, or `said_id`.
    """
    own_id = said_id or (related_id(message_id, _ANSWER) if message_id else None)
    says = own_id is not None and answer.may_send and bool(answer.response)
    ids = (*new.message_ids, *new.waiting_ids, *([own_id] if says and own_id else ()))
    return Step(
        situation.conversation,
        settles=message_id,
        only_if_newest=only_if_newest,
        saying=Saying(own_id, answer.response) if says and own_id else None,
        session=session_after(situation, session, answer, ids, now),
        escalation=Escalation(str(answer.escalation), _BOT) if answer.escalation else None,
    )


def settled(
    situation: Situation, session: AiSessionDocument | None, new: Heard, message_id: str, now: datetime
) -> Step:
    """Return the step that takes note of what was said without an answer."""
    said = (*turns_of(session), *new.before, *new.waiting)
    ids = (*new.message_ids, *new.waiting_ids)
    kept = _session(situation, session, bounded(said, CONTEXT_TOKENS), ids, now)
    return Step(situation.conversation, settles=message_id, session=kept)


def away_step(situation: Situation, message_id: str) -> Step:
    """Return the step that tells a customer that nobody is there."""
    saying = Saying(related_id(message_id, _AWAY), situation.rules.away)
    return Step(situation.conversation, settles=message_id, saying=saying, is_away=True)


def session_after(
    situation: Situation,
    session: AiSessionDocument | None,
    answer: ModelAnswer,
    message_ids: Sequence[str],
    now: datetime,
) -> AiSessionDocument:
    """Return the session as it is after an answer; these messages are in it."""
    kept = _session(situation, session, answer.turns, message_ids, now)
    kept["currentIntent"] = answer.intent or kept["currentIntent"]
    kept["slots"] = slots_after(kept["slots"], answer.slots)
    return kept


def _session(
    situation: Situation,
    session: AiSessionDocument | None,
    turns: Sequence[Turn],
    message_ids: Sequence[str],
    now: datetime,
) -> AiSessionDocument:
    conversation = situation.conversation
    known = session["messageIds"] if session else []
    return AiSessionDocument(
        _id=conversation["_id"],
        merchantId=conversation["merchantId"],
        accountId=conversation["accountId"],
        contactId=conversation["contactId"],
        sessionId=session_id_of(conversation["_id"]),
        # A flow may have it speak where nothing was asked.
        turns=turn_documents([turn for turn in turns if turn.content]),
        currentIntent=session["currentIntent"] if session else None,
        slots=dict(session["slots"]) if session else {},
        messageIds=[*known, *message_ids][-MOST_MESSAGE_IDS:],
        createdAt=session["createdAt"] if session else now,
        updatedAt=now,
    )


def escalated(step: Step, reason: str) -> Step:
    """Return a step that hands the conversation to people as well."""
    return Step(
        step.seen,
        settles=step.settles,
        only_if_newest=step.only_if_newest,
        saying=step.saying,
        session=step.session,
        escalation=Escalation(str(reason), _BOT),
    )


def stands_now(situation: Situation, now: datetime) -> Standing:
    """Return what the chatbot may do; where a person's message is on its way the conversation is theirs."""
    stands = standing(situation.conversation, situation.contact, situation.rules, now)
    return "person" if stands in {"answer", "away"} and situation.person_writes else stands


def person_came_between(before: Situation, after: Situation) -> bool:
    """Whether a person has answered, even where that does not silence the chatbot."""
    return before.conversation.get("personAnsweredAt") != after.conversation.get("personAnsweredAt")


def quiet_at_of(situation: Situation) -> datetime:
    """Return when what is due is answered: after a pause of the customer, or when that has been long in coming."""
    turn, delay = situation.conversation["botTurn"], timedelta(seconds=situation.settings.answer_delay_s)
    return min(turn["at"] + delay, turn["since"] + _MOST_DELAYS * delay)


def is_reachable(situation: Situation) -> bool:
    """Whether anything automatic may be said in a conversation."""
    consent = situation.contact["consent"]["state"]
    return situation.conversation["status"] == "open" and consent != "opted_out"


def is_with_people(situation: Situation, now: datetime) -> bool:
    """Whether people have a conversation, which flows leave to them too."""
    is_escalated = situation.conversation.get("escalated") is True
    return is_escalated or situation.person_writes or stands_now(situation, now) == "person"
