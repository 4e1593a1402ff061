"""What becomes of an attempt of an effect."""

from __future__ import annotations

from domain.flow_nodes import NEXT, Variable
from storage.flow_documents import EffectOutcome


def succeeded(result: Variable = None, branch: str = NEXT) -> EffectOutcome:
    """Return that an effect was done."""
    return EffectOutcome(reason=None, final=True, retryAfterS=0.0, result=result, branch=branch)


def failed(reason: str, *, final: bool = True, retry_after_s: float = 0.0) -> EffectOutcome:
    """Return that an attempt has failed; `final` where trying again is of no use."""
    return EffectOutcome(reason=reason, final=final, retryAfterS=retry_after_s, result=None, branch=NEXT)
