from __future__ import annotations

from aiohttp import web

from domain.errors import NotFound
from gateway.api.campaigns import known_campaign
from gateway.campaign_answers import numbers_of
from gateway.campaign_results import results_of
from gateway.models.base import NoBody
from gateway.models.campaign_reports import (
    MetricsAnswer,
    MetricsQuery,
    RecipientAnswer,
    RecipientQuery,
    ResultsAnswer,
    ResultsQuery,
    RunAnswer,
    TimelineEntry,
)
from gateway.models.paging import Paging
from gateway.paths import API
from gateway.rates import rate
from gateway.recipient_sheet import is_csv_asked_for, send_sheet
from gateway.routing import AnyRoute, Call, Reply, Route
from storage.campaign_reports import RecipientFilter

_ONE = f"{API}/campaigns/{{campaignId}}"


async def get_campaign_metrics(call: Call[MetricsQuery, NoBody]) -> Reply[MetricsAnswer]:
    """Return what became of a campaign's messages, and when they were sent."""
    reports, query = call.deps.repositories.campaign_reports, call.query
    campaign_id = (await known_campaign(call))["_id"]
    counts = await reports.counts(call.merchant_id, campaign_id, query.run_id)
    moments = await reports.timeline(call.merchant_id, campaign_id, query.run_id, query.interval)
    delivered = counts["delivered"]
    return Reply(
        MetricsAnswer(
            **numbers_of(counts).model_dump(by_alias=True),
            openRate=rate(counts["opened"], delivered),
            clickRate=rate(counts["clicked"], delivered),
            replyRate=rate(counts["replied"], delivered),
            deliveryRate=rate(delivered, counts["sent"]),
            optedOut=counts["optedOut"],
            blocked=counts["blocked"],
            skipped=counts["skipped"],
            timeline=[TimelineEntry(timestamp=each.at, sent=each.sent, delivered=each.delivered) for each in moments],
        )
    )


async def get_campaign_results(call: Call[ResultsQuery, NoBody]) -> Reply[ResultsAnswer]:
    """Return what came of each variant, how sure that is, and how it compares with getting nothing."""
    campaign = await known_campaign(call)
    reports = call.deps.repositories.campaign_reports
    counts = await reports.counts_by_variant(call.merchant_id, campaign["_id"], call.query.run_id)
    return Reply(results_of(campaign, counts))


async def list_campaign_recipients(call: Call[RecipientQuery, NoBody]) -> Reply[RecipientAnswer]:
    """Return the recipients of a campaign that match, or all of them as CSV where that is asked for."""
    repositories, merchant_id, query = call.deps.repositories, call.merchant_id, call.query
    campaign_id, wanted = (await known_campaign(call))["_id"], _wanted(query)
    if is_csv_asked_for(query.format, call.accept):

        async def stream(request: web.Request) -> web.StreamResponse:
            return await send_sheet(request, repositories, merchant_id, campaign_id, wanted)

        return Reply(None, stream=stream)
    recipients, total = await repositories.campaign_reports.recipients(merchant_id, campaign_id, wanted, query.part)
    names = await repositories.contacts.names(merchant_id, {each["contactId"] for each in recipients})
    shown = [
        RecipientAnswer.model_validate({**each, "contact": names.get(each["contactId"], {})}) for each in recipients
    ]
    return Reply(shown, query, total)


async def list_campaign_runs(call: Call[Paging, NoBody]) -> Reply[RunAnswer]:
    """Return the runs of a campaign, newest first."""
    reports, merchant_id = call.deps.repositories.campaign_reports, call.merchant_id
    campaign_id = (await known_campaign(call))["_id"]
    runs, total = await reports.runs(merchant_id, campaign_id, call.query.part)
    counts = await reports.counts_by_run(merchant_id, campaign_id, [each["_id"] for each in runs])
    shown = [
        RunAnswer.model_validate(
            {**each, "recipients": each["snapshot"]["total"], "metrics": numbers_of(counts[each["_id"]])}
        )
        for each in runs
    ]
    return Reply(shown, call.query, total)


def _wanted(query: RecipientQuery) -> RecipientFilter:
    return RecipientFilter(
        run_id=query.run_id,
        status=query.status,
        reason=query.reason,
        variant=query.variant,
        opened=query.opened is not None,
        clicked=query.clicked is not None,
        replied=query.replied is not None,
    )


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "GET",
        f"{_ONE}/metrics",
        get_campaign_metrics,
        MetricsQuery,
        NoBody,
        MetricsAnswer,
        summary="Get a campaign's metrics",
        errors=(NotFound,),
    ),
    Route(
        "GET",
        f"{_ONE}/recipients",
        list_campaign_recipients,
        RecipientQuery,
        NoBody,
        RecipientAnswer,
        summary="List a campaign's recipients",
        errors=(NotFound,),
        csv=True,
    ),
    Route(
        "GET",
        f"{_ONE}/runs",
        list_campaign_runs,
        Paging,
        NoBody,
        RunAnswer,
        summary="List a campaign's runs",
        errors=(NotFound,),
    ),
    Route(
        "GET",
        f"{_ONE}/results",
        get_campaign_results,
        ResultsQuery,
        NoBody,
        ResultsAnswer,
        summary="Compare a campaign's variants",
        errors=(NotFound,),
    ),
)
