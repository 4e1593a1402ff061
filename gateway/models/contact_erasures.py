from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from gateway.models.base import AnswerModel, DocumentId
from gateway.models.contacts import TwitterUserId
from gateway.models.paging import Paging


class ErasureQuery(Paging):
    """Which erasures are asked for: all, or those of one X user, whose id is kept nowhere after it."""

    twitter_user_id: Annotated[
        TwitterUserId | None, Field(description="Id of the X user whose data were erased.", examples=["987654321"])
    ] = None


class ErasureAnswer(AnswerModel):
    """The proof that a contact was erased: `id` was the contact's, `counts` says how much was deleted, by what it was.

    It holds nothing of the person but a keyed hash of the X user id, which is not shown.
    """

    id: DocumentId
    account_id: str
    counts: dict[str, int]
    requested_by_user_id: str
    requested_at: datetime
    completed_at: datetime
