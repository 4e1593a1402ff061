"""What a run of a campaign says, and the document that a run begins as."""

from __future__ import annotations

from datetime import datetime

from actors.campaign_run import CampaignServices
from domain.errors import InvalidContent, InvalidRequest, Problem
from domain.ids import new_id
from domain.templates import TemplateDraft, checked_variables
from domain.variants import ONLY_VARIANT
from storage.campaign_documents import ContentDocument, RunDocument, RunStatus
from storage.campaigns import CampaignDocument, VariantDocument


async def contents_of(services: CampaignServices, campaign: CampaignDocument) -> list[ContentDocument]:
    """Return what the campaign says, as its templates are now.

    Raises:
        InvalidRequest: when there is nobody to say it to, or a template can't be used.
    """
    problems: list[Problem] = []
    if not campaign["segmentIds"]:
        problems.append(Problem("segmentIds", "is empty"))
    variants = campaign["variants"] or _single(campaign)
    contents: list[ContentDocument] = []
    for variant in variants:
        template = await services.templates.get(campaign["merchantId"], variant["templateId"])
        reason = "does not exist"
        if template is not None:
            try:
                checked_variables(TemplateDraft(type="text", content=template["content"]))
            except InvalidContent as error:
                reason = error.problems[0].reason if error.problems else "can't be rendered"
            else:
                contents.append(
                    ContentDocument(
                        name=variant["name"],
                        templateId=variant["templateId"],
                        type=template["type"],
                        content=template["content"],
                        options=template["options"],
                        buttons=template["buttons"],
                        weight=variant["weight"],
                    )
                )
                continue
        problems.append(Problem("templateId", reason))
    if not variants:
        problems.append(Problem("templateId", "is missing"))
    if problems:
        raise InvalidRequest("Campaign has no segments or invalid template", problems=tuple(problems))
    return contents


def _single(campaign: CampaignDocument) -> list[VariantDocument]:
    template_id = campaign["templateId"]
    return [VariantDocument(name=ONLY_VARIANT, templateId=template_id, weight=1)] if template_id else []


def new_run(
    campaign: CampaignDocument, contents: list[ContentDocument], due_at: datetime, now: datetime, status: RunStatus
) -> RunDocument:
    """Return the next run of a campaign, which goes to its audience with these contents; without any it is over."""
    return RunDocument(
        _id=new_id(),
        merchantId=campaign["merchantId"],
        campaignId=campaign["_id"],
        number=campaign["runs"] + 1,
        status=status,
        dueAt=due_at,
        startedAt=now if contents else None,
        endedAt=None if contents else now,
        accountId=campaign["accountId"],
        segmentIds=campaign["segmentIds"],
        excludeSegmentIds=campaign["excludeSegmentIds"],
        contents=contents,
        variables=campaign["variables"],
        controlShare=campaign["controlShare"],
        snapshot={"after": "", "done": not contents, "total": 0},
        estimate=None,
    )
