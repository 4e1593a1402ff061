from __future__ import annotations

from domain.errors import NotFound
from gateway.models.base import NoBody, NoQuery
from gateway.models.contact_erasures import ErasureAnswer, ErasureQuery
from gateway.paths import API
from gateway.principal import ADMINS
from gateway.routing import AnyRoute, BodyT, Call, QueryT, Reply, Route
from storage.erasure_receipts import ErasureReceipts

_ALL = f"{API}/contacts/erasures"


async def list_erasures(call: Call[ErasureQuery, NoBody]) -> Reply[ErasureAnswer]:
    """Return what proves that contacts were erased, newest first; with `twitterUserId` that one person was."""
    query = call.query
    documents, total = await _receipts(call).page(call.merchant_id, query.part, twitter_user_id=query.twitter_user_id)
    return Reply([ErasureAnswer.model_validate(each) for each in documents], query, total)


async def get_erasure(call: Call[NoQuery, NoBody]) -> Reply[ErasureAnswer]:
    """Return what proves that a contact was erased; the id is the contact's."""
    found = await _receipts(call).get(call.merchant_id, call.path["erasureId"])
    if found is None:
        raise NotFound("There is no such erasure that is over")
    return Reply(ErasureAnswer.model_validate(found))


def _receipts(call: Call[QueryT, BodyT]) -> ErasureReceipts:
    return ErasureReceipts(call.deps.database, call.deps.settings)


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "GET",
        _ALL,
        list_erasures,
        ErasureQuery,
        NoBody,
        ErasureAnswer,
        summary="List erasures of contacts",
        roles=ADMINS,
    ),
    Route(
        "GET",
        f"{_ALL}/{{erasureId}}",
        get_erasure,
        NoQuery,
        NoBody,
        ErasureAnswer,
        summary="Get the proof of an erasure",
        roles=ADMINS,
        errors=(NotFound,),
    ),
)
