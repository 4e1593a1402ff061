from __future__ import annotations

from datetime import timedelta

from pydantic import BaseModel

from domain.errors import Conflict, NotFound
from domain.segment_conditions import read_conditions
from gateway.models.base import NoBody, NoQuery
from gateway.models.paging import Paging
from gateway.models.segments import (
    ChangeSegment,
    CreateSegment,
    PreviewQuery,
    SegmentAnswer,
    SegmentContact,
    SegmentPreview,
)
from gateway.paths import API
from gateway.principal import ADMINS
from gateway.routing import AnyRoute, BodyT, Call, QueryT, Reply, Route, nothing
from storage.segments import SegmentDocument

_ONE = f"{API}/segments/{{segmentId}}"
#: How old a count may be that is shown of one segment.
_COUNT_HOLDS = timedelta(minutes=1)


async def create_segment(call: Call[NoQuery, CreateSegment]) -> Reply[SegmentAnswer]:
    """Create a segment, and count who is in it."""
    segments, now = call.deps.repositories.segments, call.deps.clock.now()
    conditions = read_conditions(call.body.conditions)
    await segments.check_campaigns(call.merchant_id, conditions)
    segment: SegmentDocument = {
        "_id": call.resource_id,
        "merchantId": call.merchant_id,
        "name": call.body.name,
        "conditions": call.body.conditions,
        "contactCount": await segments.count(call.merchant_id, conditions, now),
        "countedAt": now,
        "version": 1,
        "createdAt": now,
        "updatedAt": now,
    }
    return Reply(_shown(await segments.add(segment)))


async def list_segments(call: Call[Paging, NoBody]) -> Reply[SegmentAnswer]:
    """Return the segments, newest first, each with its last count."""
    documents, total = await call.deps.repositories.segments.page(call.merchant_id, call.query.part)
    return Reply([_shown(each) for each in documents], call.query, total)


async def get_segment(call: Call[NoQuery, NoBody]) -> Reply[SegmentAnswer]:
    """Return one segment; its contacts are counted anew where that was over a minute ago."""
    segments, now = call.deps.repositories.segments, call.deps.clock.now()
    known = await _known(call)
    if now - known["countedAt"] > _COUNT_HOLDS:
        count = await segments.count(call.merchant_id, read_conditions(known["conditions"]), now)
        known = await segments.counted(known, count, now)
    return Reply(_shown(known))


async def change_segment(call: Call[NoQuery, ChangeSegment]) -> Reply[SegmentAnswer]:
    """Change a segment, and count who is in it now."""
    segments, now, body = call.deps.repositories.segments, call.deps.clock.now(), call.body
    known = await _known(call)
    given = known["conditions"] if body.conditions is None else body.conditions
    conditions = read_conditions(given)
    if body.conditions is not None:
        await segments.check_campaigns(call.merchant_id, conditions)
    count = await segments.count(call.merchant_id, conditions, now)
    return Reply(_shown(await segments.change(known, body.name or known["name"], given, count, now)))


async def delete_segment(call: Call[NoQuery, NoBody]) -> Reply[BaseModel]:
    """Delete a segment that no campaign uses which may still send."""
    if not await call.deps.repositories.segments.remove(call.merchant_id, call.path["segmentId"]):
        raise NotFound("Segment not found")
    return nothing()


async def preview_segment(call: Call[PreviewQuery, NoBody]) -> Reply[SegmentPreview]:
    """Return how many contacts are in a segment now, and some of them."""
    conditions = read_conditions((await _known(call))["conditions"])
    contacts, total = await call.deps.repositories.segments.preview(
        call.merchant_id, conditions, call.query.limit, call.deps.clock.now()
    )
    shown = [SegmentContact.model_validate(each) for each in contacts]
    return Reply(SegmentPreview.model_validate({"totalMatches": total, "preview": shown}))


async def _known(call: Call[QueryT, BodyT]) -> SegmentDocument:
    known = await call.deps.repositories.segments.get(call.merchant_id, call.path["segmentId"])
    if known is None:
        raise NotFound("Segment not found")
    return known


def _shown(segment: SegmentDocument) -> SegmentAnswer:
    return SegmentAnswer.model_validate(segment)


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "POST",
        f"{API}/segments",
        create_segment,
        NoQuery,
        CreateSegment,
        SegmentAnswer,
        summary="Create a segment",
        roles=ADMINS,
        errors=(Conflict,),
        idempotent=True,
    ),
    Route("GET", f"{API}/segments", list_segments, Paging, NoBody, SegmentAnswer, summary="List segments"),
    Route("GET", _ONE, get_segment, NoQuery, NoBody, SegmentAnswer, summary="Get a segment", errors=(NotFound,)),
    Route(
        "PUT",
        _ONE,
        change_segment,
        NoQuery,
        ChangeSegment,
        SegmentAnswer,
        summary="Change a segment",
        roles=ADMINS,
        errors=(NotFound, Conflict),
    ),
    Route(
        "DELETE",
        _ONE,
        delete_segment,
        NoQuery,
        NoBody,
        BaseModel,
        summary="Delete a segment",
        roles=ADMINS,
        errors=(NotFound, Conflict),
    ),
    Route(
        "POST",
        f"{_ONE}/preview",
        preview_segment,
        PreviewQuery,
        NoBody,
        SegmentPreview,
        summary="Preview a segment",
        errors=(NotFound,),
        changes=False,
    ),
)
