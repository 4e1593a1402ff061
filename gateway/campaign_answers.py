"""Campaigns and their numbers as they are answered, however many at once: three queries for a page of them."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.dependencies import Repositories
from gateway.models.campaigns import CampaignAnswer, CampaignNumbers, ProgressAnswer
from storage.campaign_reports import Counts, Progress
from storage.campaigns import CampaignDocument


async def answers_of(
    repositories: Repositories, merchant_id: str, campaigns: Sequence[CampaignDocument]
) -> list[CampaignAnswer]:
    """Return campaigns with their metrics and the progress of their present or last runs."""
    run_ids = {each["runId"] for each in campaigns if each["runId"] is not None}
    numbers = await repositories.campaign_reports.numbers(merchant_id, {each["_id"] for each in campaigns}, run_ids)
    return [
        CampaignAnswer.model_validate(
            {
                **each,
                "metrics": numbers_of(numbers.counts_of(each["_id"])),
                "progress": _progress(numbers.progress_of(each["runId"])),
            }
        )
        for each in campaigns
    ]


def numbers_of(counts: Counts) -> CampaignNumbers:
    """Return counters as the API document names them."""
    return CampaignNumbers(
        totalSent=counts["sent"],
        delivered=counts["delivered"],
        opened=counts["opened"],
        clicked=counts["clicked"],
        replied=counts["replied"],
        failed=counts["failed"],
    )


def _progress(progress: Progress) -> ProgressAnswer:
    # What is over goes at no rate any more.
    estimate = progress.estimate if progress.done < progress.total else None
    return ProgressAnswer(
        total=progress.total,
        done=progress.done,
        remaining=progress.total - progress.done,
        ratePerMinute=None if estimate is None else estimate["ratePerMinute"],
        estimatedCompletionAt=None if estimate is None else estimate["estimatedCompletionAt"],
    )
