from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from pydantic import BaseModel

from actors.campaign import CampaignActor
from domain.campaign_state import check_change
from domain.errors import Conflict, NotFound
from gateway.campaign_answers import answers_of
from gateway.campaign_fields import fields_of_changed, fields_of_new
from gateway.campaign_trial import Trial, try_out
from gateway.models.base import NoBody, NoQuery
from gateway.models.campaigns import (
    CampaignAnswer,
    CampaignQuery,
    ChangeCampaign,
    CreateCampaign,
    RetryAnswer,
    TestAnswer,
    TestCampaign,
)
from gateway.paths import API
from gateway.principal import ADMINS
from gateway.routing import AnyRoute, BodyT, Call, QueryT, Reply, Route, nothing
from storage.campaigns import CampaignDocument, CampaignFilter

_ONE = f"{API}/campaigns/{{campaignId}}"

_Move: TypeAlias = Callable[[CampaignActor, str], Awaitable[None]]


async def create_campaign(call: Call[NoQuery, CreateCampaign]) -> Reply[CampaignAnswer]:
    """Create a campaign, a draft until it is started."""
    repositories = call.deps.repositories
    fields = await fields_of_new(repositories, call.merchant_id, call.body)
    campaign = await repositories.campaigns.add(call.merchant_id, call.resource_id, fields, call.deps.clock.now())
    return Reply(await _shown(call, campaign))


async def list_campaigns(call: Call[CampaignQuery, NoBody]) -> Reply[CampaignAnswer]:
    """Return the campaigns that match, newest first."""
    query, repositories = call.query, call.deps.repositories
    wanted = CampaignFilter(query.status, query.type, query.search.strip())
    documents, total = await repositories.campaigns.page(call.merchant_id, wanted, query.part)
    return Reply(await answers_of(repositories, call.merchant_id, documents), query, total)


async def get_campaign(call: Call[NoQuery, NoBody]) -> Reply[CampaignAnswer]:
    """Return one campaign with what became of its messages, and how far it is."""
    return Reply(await _shown(call, await known_campaign(call)))


async def change_campaign(call: Call[NoQuery, ChangeCampaign]) -> Reply[CampaignAnswer]:
    """Change a campaign that is a draft or scheduled."""
    repositories, known = call.deps.repositories, await known_campaign(call)
    check_change(known["status"])
    fields = await fields_of_changed(repositories, known, call.body)
    changed = await repositories.campaigns.change(known, fields, call.deps.clock.now())
    if changed["status"] != "scheduled":
        return Reply(await _shown(call, changed))
    return await _moved(call, lambda actor, merchant_id: actor.schedule_changed(merchant_id))


async def delete_campaign(call: Call[NoQuery, NoBody]) -> Reply[BaseModel]:
    """Delete a campaign that is a draft or over; what was counted of it stays, without a word about whom."""
    campaigns, known = call.deps.repositories.campaigns, await known_campaign(call)
    await campaigns.remove(known, call.deps.clock.now())
    call.deps.background.start("remove_recipients", campaigns.remove_recipients(call.merchant_id, known["_id"]))
    return nothing()


async def start_campaign(call: Call[NoQuery, NoBody]) -> Reply[CampaignAnswer]:
    """Start a campaign now, or schedule it where it is to begin later."""
    return await _moved(call, lambda actor, merchant_id: actor.start(merchant_id))


async def unschedule_campaign(call: Call[NoQuery, NoBody]) -> Reply[CampaignAnswer]:
    """Make a scheduled campaign a draft again."""
    return await _moved(call, lambda actor, merchant_id: actor.unschedule(merchant_id))


async def pause_campaign(call: Call[NoQuery, NoBody]) -> Reply[CampaignAnswer]:
    """Pause a running campaign: nothing more is sent but what is on its way to X already."""
    return await _moved(call, lambda actor, merchant_id: actor.pause(merchant_id))


async def resume_campaign(call: Call[NoQuery, NoBody]) -> Reply[CampaignAnswer]:
    """Go on with a paused campaign: nobody is skipped, and nobody gets it twice."""
    return await _moved(call, lambda actor, merchant_id: actor.resume(merchant_id))


async def cancel_campaign(call: Call[NoQuery, NoBody]) -> Reply[CampaignAnswer]:
    """End a running or paused campaign; who has got nothing gets nothing."""
    return await _moved(call, lambda actor, merchant_id: actor.cancel(merchant_id))


async def retry_failed(call: Call[NoQuery, NoBody]) -> Reply[RetryAnswer]:
    """Send again to those recipients of the last run to whom sending failed."""
    campaign_id = (await known_campaign(call))["_id"]
    retried = await call.deps.actors.ref(CampaignActor, campaign_id).retry_failed(call.merchant_id)
    return Reply(RetryAnswer(retried=retried, campaign=await _shown(call, await known_campaign(call))))


async def test_campaign(call: Call[NoQuery, TestCampaign]) -> Reply[TestAnswer]:
    """Send a campaign's message to some contacts now; it is counted nowhere."""
    body = call.body
    trial = Trial(call.resource_id, body.contact_ids, body.variables, body.variant)
    return Reply(TestAnswer(results=await try_out(call.deps, call.principal, await known_campaign(call), trial)))


async def known_campaign(call: Call[QueryT, BodyT]) -> CampaignDocument:
    """Return the campaign that a request's path names.

    Raises:
        NotFound: when the merchant has no such campaign.
    """
    known = await call.deps.repositories.campaigns.get(call.merchant_id, call.path["campaignId"])
    if known is None:
        raise NotFound("Campaign not found")
    return known


async def _moved(call: Call[QueryT, BodyT], move: _Move) -> Reply[CampaignAnswer]:
    # Looked up first, so that no actor is made for an id that is nobody's.
    campaign_id = (await known_campaign(call))["_id"]
    await move(call.deps.actors.ref(CampaignActor, campaign_id), call.merchant_id)
    return Reply(await _shown(call, await known_campaign(call)))


async def _shown(call: Call[QueryT, BodyT], campaign: CampaignDocument) -> CampaignAnswer:
    return (await answers_of(call.deps.repositories, call.merchant_id, [campaign]))[0]


def _move(name: str, handler: Callable[[Call[NoQuery, NoBody]], Awaitable[Reply[CampaignAnswer]]]) -> AnyRoute:
    return Route(
        "POST",
        f"{_ONE}/{name}",
        handler,
        NoQuery,
        NoBody,
        CampaignAnswer,
        summary=f"{name.capitalize()} a campaign",
        roles=ADMINS,
        errors=(NotFound, Conflict),
        idempotent=True,
    )


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "POST",
        f"{API}/campaigns",
        create_campaign,
        NoQuery,
        CreateCampaign,
        CampaignAnswer,
        summary="Create a campaign",
        roles=ADMINS,
        idempotent=True,
    ),
    Route("GET", f"{API}/campaigns", list_campaigns, CampaignQuery, NoBody, CampaignAnswer, summary="List campaigns"),
    Route("GET", _ONE, get_campaign, NoQuery, NoBody, CampaignAnswer, summary="Get a campaign", errors=(NotFound,)),
    Route(
        "PUT",
        _ONE,
        change_campaign,
        NoQuery,
        ChangeCampaign,
        CampaignAnswer,
        summary="Change a campaign",
        roles=ADMINS,
        errors=(NotFound, Conflict),
    ),
    Route(
        "DELETE",
        _ONE,
        delete_campaign,
        NoQuery,
        NoBody,
        BaseModel,
        summary="Delete a campaign",
        roles=ADMINS,
        errors=(NotFound, Conflict),
    ),
    _move("start", start_campaign),
    _move("pause", pause_campaign),
    _move("resume", resume_campaign),
    Route(
        "POST",
        f"{_ONE}/retry-failed",
        retry_failed,
        NoQuery,
        NoBody,
        RetryAnswer,
        summary="Send again where sending failed",
        roles=ADMINS,
        errors=(NotFound, Conflict),
        idempotent=True,
    ),
    Route(
        "POST",
        f"{_ONE}/test",
        test_campaign,
        NoQuery,
        TestCampaign,
        TestAnswer,
        summary="Send test messages of a campaign",
        roles=ADMINS,
        errors=(NotFound,),
        idempotent=True,
    ),
    _move("unschedule", unschedule_campaign),
    _move("cancel", cancel_campaign),
)
