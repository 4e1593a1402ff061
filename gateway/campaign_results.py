"""What came of the variants of a campaign, compared with those contacts that were held back."""

from __future__ import annotations

from collections.abc import Mapping

from domain.proportions import Interval, difference, wilson
from domain.variants import CONTROL, ONLY_VARIANT
from gateway.campaign_answers import numbers_of
from gateway.models.campaign_reports import ControlResult, MeasuredRate, RateDifference, ResultsAnswer, VariantResult
from gateway.rates import rate
from storage.campaign_reports import NO_COUNTS, Counts
from storage.campaigns import CampaignDocument

#: Decimals of what is finer than a rate: where it lies, and how two of them differ.
_DECIMALS = 4


def results_of(campaign: CampaignDocument, counts: Mapping[str, Counts]) -> ResultsAnswer:
    """Return the results of a campaign by its counters.

    Variants come in the campaign's order; those that it had in earlier runs and has no more come after them.
    """
    control = counts.get(CONTROL)
    templates = _templates(campaign)
    earlier = sorted(set(counts) - set(templates) - {CONTROL})
    return ResultsAnswer(
        variants=[
            _variant(name, templates.get(name), counts.get(name, NO_COUNTS), control) for name in (*templates, *earlier)
        ],
        control=None if control is None else _control(control),
    )


def _templates(campaign: CampaignDocument) -> dict[str, str | None]:
    if campaign["variants"]:
        return {each["name"]: each["templateId"] for each in campaign["variants"]}
    return {ONLY_VARIANT: campaign["templateId"]}


def _variant(name: str, template_id: str | None, counts: Counts, control: Counts | None) -> VariantResult:
    delivered = counts["delivered"]
    return VariantResult(
        **numbers_of(counts).model_dump(by_alias=True),
        name=name,
        templateId=template_id,
        optedOut=counts["optedOut"],
        blocked=counts["blocked"],
        skipped=counts["skipped"],
        openRate=_measured(counts["opened"], delivered),
        clickRate=_measured(counts["clicked"], delivered),
        replyRate=_measured(counts["replied"], delivered),
        optOutRate=_measured(counts["optedOut"], delivered),
        versusControl=_versus(counts, control),
    )


def _control(counts: Counts) -> ControlResult:
    # Who is held back is skipped: that is the whole group.
    contacts = counts["skipped"]
    return ControlResult(
        contacts=contacts,
        replied=counts["replied"],
        optedOut=counts["optedOut"],
        replyRate=_measured(counts["replied"], contacts),
    )


def _versus(counts: Counts, control: Counts | None) -> RateDifference | None:
    """Compare who has written; nothing where there is nobody on either side."""
    if control is None or not control["skipped"] or not counts["delivered"]:
        return None
    found = difference(
        *_bounded(counts["replied"], counts["delivered"]), *_bounded(control["replied"], control["skipped"])
    )
    low, high = _ends(found.interval)
    return RateDifference(difference=round(found.value, _DECIMALS), low=low, high=high, significant=found.significant)


def _measured(successes: int, trials: int) -> MeasuredRate:
    low, high = _ends(wilson(*_bounded(successes, trials)))
    return MeasuredRate(rate=rate(successes, trials), low=low, high=high)


def _bounded(successes: int, trials: int) -> tuple[int, int]:
    """Return successes and trials; a message may be read before X has confirmed that it took it."""
    return max(0, min(successes, trials)), trials


def _ends(interval: Interval) -> tuple[float, float]:
    return round(interval.low, _DECIMALS), round(interval.high, _DECIMALS)
