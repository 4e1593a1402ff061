from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from gateway.answers import Payload, success, success_page
from gateway.routing import AnswerT, Reply


def payload_of(reply: Reply[AnswerT]) -> Payload:
    """Return what a handler's reply looks like as an answer."""
    data = _shown(reply.data)
    if reply.page is None:
        return success(data)
    return success_page(data, skip=reply.page.skip, take=reply.page.take, total=reply.total)


def _shown(data: BaseModel | Sequence[BaseModel] | None) -> object:
    if data is None:
        return None
    if isinstance(data, BaseModel):
        return data.model_dump(by_alias=True)
    return [each.model_dump(by_alias=True) for each in data]
