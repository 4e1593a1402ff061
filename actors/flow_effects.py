"""What executors of flows do outside of their documents: each effect once, known by execution, node and visit.

What becomes of an effect is noted in the event by which it was to be done; the executor takes it from there. A message
is the exception: it is queued, and what becomes of it is told by the outbox.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from prometheus_client import Counter
from pymongo.errors import PyMongoError

from actors.flow_effects_ai import FlowAnswers
from actors.flow_effects_http import FlowCalls
from actors.flow_effects_send import FlowMessages
from actors.flow_outcomes import failed
from domain.clock import Clock
from domain.errors import Unavailable
from domain.flow_nodes import AiReply, HttpRequest, SendMessage
from domain.flow_state import Effect
from storage.flow_documents import EffectOutcome, FlowEventDocument
from storage.flow_events import FlowEvents
from storage.flow_writes import FlowWrites

log = structlog.get_logger()

EFFECTS = Counter("mktx_flow_effects_total", "Attempts of effects of flows, by kind and outcome", ["kind", "outcome"])

#: Why an attempt has failed that broke in a way that nobody thought of.
_BROKEN = "internal_error"


@dataclass(frozen=True, slots=True)
class FlowEffects:
    """Does the effects of one host."""

    events: FlowEvents
    writes: FlowWrites
    messages: FlowMessages
    calls: FlowCalls
    answers: FlowAnswers
    clock: Clock

    async def do(self, event: FlowEventDocument, effect: Effect) -> bool:
        """Do an effect; answers whether there is something to take for the executor.

        Where the database or an actor is not to be reached, the event stays as it is and is found again.
        """
        kind = effect.action.kind
        try:
            outcome = await self._outcome(event, effect)
            if outcome is not None:
                await self.events.done(event["_id"], outcome)
        except (PyMongoError, Unavailable) as error:
            log.warning("flow.effect_waits", kind=kind, error=type(error).__name__)
            EFFECTS.labels(kind, "waits").inc()
            return False
        EFFECTS.labels(kind, "failed" if outcome is not None and outcome["reason"] else "done").inc()
        return outcome is not None or not isinstance(effect.action, SendMessage)

    async def _outcome(self, event: FlowEventDocument, effect: Effect) -> EffectOutcome | None:
        """Return what became of an effect; nothing where that is noted already, or will be told."""
        try:
            match effect.action:
                case SendMessage():
                    return await self.messages.send(event, effect, effect.action)
                case HttpRequest():
                    return await self.calls.call(event, effect, effect.action)
                case AiReply():
                    return await self.answers.answer(event, effect, effect.action)
                case change:
                    await self.writes.do(event, effect, change, self.clock.now())
                    return None
        except (PyMongoError, Unavailable):
            raise
        except Exception as error:
            # One that breaks is tried again as one that fails is, and shows in the execution in the end.
            log.exception("flow.effect_broke", kind=effect.action.kind, error=type(error).__name__)
            return failed(_BROKEN, final=False)
