"""Who gets which variant of a campaign, and who is held back to compare with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

#: The variant of a campaign without variants.
ONLY_VARIANT: Final = "all"
#: The variant of the contacts that are held back to compare with: they are sent nothing.
CONTROL: Final = "control"

_WHOLE = 2**64


def assigned(
    run_id: str, contact_id: str, weights: Sequence[tuple[str, int]], control_share: float = 0.0
) -> str | None:
    """Return the variant of a contact in a run, None for the control group.

    Always the same for the same contact and run, independent of any other run and of the order of the variants, and
    spread by the weights: a hash decides, so that a snapshot which is taken up again after a crash assigns nobody anew.

    Raises:
        ValueError: when there are no variants, or none has a weight.
    """
    digest = hashlib.blake2b(f"{run_id}|{contact_id}".encode(), digest_size=16).digest()
    if int.from_bytes(digest[:8], "big") < control_share * _WHOLE:
        return None
    total = sum(weight for _, weight in weights)
    place = int.from_bytes(digest[8:], "big") * total // _WHOLE
    for name, weight in sorted(weights):
        place -= weight
        if place < 0:
            return name
    raise ValueError("there are no variants")
