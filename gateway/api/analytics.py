from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

from aiohttp import web

from domain.errors import InvalidRequest, NotFound, Problem
from domain.period import Hours, Span
from domain.rollup import flow_scope
from gateway.analytics import (
    Asked,
    answer_fields,
    asked_of,
    automation_figures,
    campaign_counters,
    campaign_figures,
    contact_figures,
    conversation_figures,
    dumped,
    execution_figures,
)
from gateway.analytics_sheet import send_csv, sheet_of
from gateway.models.analytics import (
    AutomationAnalytics,
    AutomationAnalyticsQuery,
    CampaignAnalytics,
    CampaignAnalyticsQuery,
    ContactAnalytics,
    ConversationAnalytics,
    OneCampaignFigures,
    OneFlowFigures,
    OverviewAnswer,
    OverviewAutomation,
    OverviewCampaigns,
    OverviewConversations,
    OverviewQuery,
    PeriodQuery,
)
from gateway.models.base import AnswerModel, NoBody
from gateway.paths import API
from gateway.recipient_sheet import is_csv_asked_for
from gateway.routing import AnyRoute, Call, Reply, Route
from storage.analytics_sources import CampaignState, Sums, hour_of_name

_BASE = f"{API}/analytics"
#: Campaigns, and flows, that are listed.
_MOST_LISTED = 100
_OF_CAMPAIGNS = "sent:campaign"

AnswerT = TypeVar("AnswerT", bound=AnswerModel)
QueryT = TypeVar("QueryT", bound=PeriodQuery)


async def get_overview(call: Call[OverviewQuery, NoBody]) -> Reply[OverviewAnswer]:
    """Return what there is to see at one look."""
    asked = await _asked(call)
    sums = await _sums(call, asked, active=True, standing=True)
    campaigns = await _campaigns(call, asked, None)
    flows = await call.deps.repositories.analytics.active_flows(call.merchant_id, asked.account_id, None)

    def figures(span: Span) -> dict[str, object]:
        counts = sums.of(asked.hours_of(span))
        of_campaigns = campaign_figures(campaigns, {}, counts[_OF_CAMPAIGNS], span)
        conversations = conversation_figures(sums, asked, span)
        return {
            "contacts": dumped(contact_figures(sums, asked, span)),
            "conversations": _only(OverviewConversations, dumped(conversations)),
            "campaigns": _only(OverviewCampaigns, dumped(of_campaigns)),
            "automation": _only(OverviewAutomation, dumped(automation_figures(counts, flows))),
        }

    return _reply(call, "overview", OverviewAnswer, answer_fields(asked, figures))


async def get_contact_analytics(call: Call[PeriodQuery, NoBody]) -> Reply[ContactAnalytics]:
    """Return the figures of contacts."""
    asked = await _asked(call)
    sums = await _sums(call, asked, active=True, standing=True)
    fields = answer_fields(asked, lambda span: dumped(contact_figures(sums, asked, span)))
    return _reply(call, "contacts", ContactAnalytics, fields)


async def get_conversation_analytics(call: Call[PeriodQuery, NoBody]) -> Reply[ConversationAnalytics]:
    """Return the figures of conversations, response times and messages."""
    asked = await _asked(call)
    sums = await _sums(call, asked, standing=True)
    fields = answer_fields(asked, lambda span: dumped(conversation_figures(sums, asked, span)))
    return _reply(call, "conversations", ConversationAnalytics, fields)


async def get_campaign_analytics(call: Call[CampaignAnalyticsQuery, NoBody]) -> Reply[CampaignAnalytics]:
    """Return the figures of campaigns, and of those of which most was sent."""
    asked, campaign_id = await _asked(call), call.query.campaign_id
    if campaign_id and not await call.deps.repositories.campaigns.was_there(call.merchant_id, campaign_id):
        raise NotFound("Campaign not found")
    campaigns = await _campaigns(call, asked, campaign_id)
    ids, hours = [each.id for each in campaigns], asked.hours_of(asked.outer)
    source = call.deps.repositories.analytics
    by_hour = await source.campaign_hours(call.merchant_id, ids, hours, by="hour")
    own = asked.hours_of(asked.span)
    by_campaign = await source.campaign_hours(call.merchant_id, ids, own, by="campaignId")
    sums = await _sums(call, asked)

    def figures(span: Span) -> dict[str, object]:
        within = asked.hours_of(span)
        counts = _within(by_hour, within)
        sent = counts["delivered"] if campaign_id else sums.of(within)[_OF_CAMPAIGNS]
        return dumped(campaign_figures(campaigns, counts, sent, span))

    fields = answer_fields(asked, figures) | {"campaigns": _listed(campaigns, by_campaign)}
    return _reply(call, "campaigns", CampaignAnalytics, fields)


async def get_automation_analytics(call: Call[AutomationAnalyticsQuery, NoBody]) -> Reply[AutomationAnalytics]:
    """Return the figures of flows, and of those of which most executions began."""
    asked, flow_id = await _asked(call), call.query.flow_id
    if flow_id and asked.account_id:
        problem = Problem("accountId", "can't be asked for together with flowId")
        raise InvalidRequest("A query parameter is wrong", problems=(problem,))
    if flow_id and await call.deps.repositories.flows.get(call.merchant_id, flow_id) is None:
        raise NotFound("Flow not found")
    source = call.deps.repositories.analytics
    active = await source.active_flows(call.merchant_id, asked.account_id, flow_id)
    # Flows are counted over all accounts.
    hours = asked.hours_of(asked.span)
    by_flow = {} if asked.account_id else await source.flow_sums(call.merchant_id, flow_id, hours)
    sums = await _sums(call, asked, scope=flow_scope(flow_id) if flow_id else None)
    fields = answer_fields(asked, lambda span: dumped(automation_figures(sums.of(asked.hours_of(span)), active)))
    most = sorted(by_flow.items(), key=lambda item: (-item[1]["executions:started"], item[0]))[:_MOST_LISTED]
    known = await source.flows(call.merchant_id, [key for key, _ in most])
    flows = [
        OneFlowFigures(
            **dumped(execution_figures(counts)),
            flowId=key,
            name=known[key]["name"] if key in known else None,
            status=known[key]["status"] if key in known else None,
        )
        for key, counts in most
    ]
    return _reply(call, "automation", AutomationAnalytics, fields | {"flows": [dumped(each) for each in flows]})


async def _asked(call: Call[QueryT, NoBody]) -> Asked:
    asked = asked_of(call.query, call.deps.clock.now())
    account_id = asked.account_id
    if account_id is not None and await call.deps.repositories.accounts.get(call.merchant_id, account_id) is None:
        raise NotFound("Account not found")
    return asked


async def _sums(
    call: Call[QueryT, NoBody],
    asked: Asked,
    *,
    active: bool = False,
    standing: bool = False,
    scope: str | None = None,
) -> Sums:
    return await call.deps.repositories.analytics.sums(
        call.merchant_id,
        scope or asked.scope,
        asked.hours_of(asked.outer),
        cuts=asked.cuts,
        days=asked.outer.days if active else None,
        standing=standing,
    )


async def _campaigns(call: Call[QueryT, NoBody], asked: Asked, campaign_id: str | None) -> list[CampaignState]:
    return await call.deps.repositories.analytics.campaigns(
        call.merchant_id, account_id=asked.account_id, campaign_id=campaign_id, until=asked.span.end
    )


def _within(by_hour: Mapping[str, Mapping[str, int]], hours: Hours) -> Counter[str]:
    counts: Counter[str] = Counter()
    for name, each in by_hour.items():
        if hours.start <= hour_of_name(name) < hours.end:
            counts.update(each)
    return counts


def _listed(campaigns: Sequence[CampaignState], counts: Mapping[str, Mapping[str, int]]) -> list[dict[str, object]]:
    found = [each for each in campaigns if any(counts.get(each.id, {}).values())]
    found.sort(key=lambda each: -counts[each.id]["sent"])
    return [
        dumped(
            OneCampaignFigures(
                **dumped(campaign_counters(counts[each.id])),
                campaignId=each.id,
                name=each.name,
                status=each.status,
                deleted=each.is_deleted,
            )
        )
        for each in found[:_MOST_LISTED]
    ]


def _only(model: type[AnswerModel], fields: Mapping[str, object]) -> dict[str, object]:
    return dumped(model.model_validate(fields))


def _reply(call: Call[QueryT, NoBody], name: str, model: type[AnswerT], fields: Mapping[str, object]) -> Reply[AnswerT]:
    if not is_csv_asked_for(call.query.format, call.accept):
        return Reply(model.model_validate(fields))
    lines = sheet_of(fields)

    async def stream(request: web.Request) -> web.StreamResponse:
        return await send_csv(request, name, lines)

    return Reply(None, stream=stream)


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "GET",
        f"{_BASE}/overview",
        get_overview,
        OverviewQuery,
        NoBody,
        OverviewAnswer,
        summary="Get overview analytics",
        errors=(NotFound,),
        csv=True,
    ),
    Route(
        "GET",
        f"{_BASE}/contacts",
        get_contact_analytics,
        PeriodQuery,
        NoBody,
        ContactAnalytics,
        summary="Get contact analytics",
        errors=(NotFound,),
        csv=True,
    ),
    Route(
        "GET",
        f"{_BASE}/conversations",
        get_conversation_analytics,
        PeriodQuery,
        NoBody,
        ConversationAnalytics,
        summary="Get conversation analytics",
        errors=(NotFound,),
        csv=True,
    ),
    Route(
        "GET",
        f"{_BASE}/campaigns",
        get_campaign_analytics,
        CampaignAnalyticsQuery,
        NoBody,
        CampaignAnalytics,
        summary="Get campaign analytics",
        errors=(NotFound,),
        csv=True,
    ),
    Route(
        "GET",
        f"{_BASE}/automation",
        get_automation_analytics,
        AutomationAnalyticsQuery,
        NoBody,
        AutomationAnalytics,
        summary="Get automation analytics",
        errors=(NotFound,),
        csv=True,
    ),
)
