"""What people say about a campaign, checked: what it refers to is there, and its times make sense."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from domain.errors import InvalidContent, Problem
from domain.recurrence import Recurrence
from gateway.dependencies import Repositories
from gateway.models.campaigns import ChangeCampaign, CreateCampaign, ScheduleInput, VariantInput
from storage.campaigns import CampaignDocument, CampaignFields, ScheduleDocument, VariantDocument

_NO_SCHEDULE: ScheduleDocument = {"startAt": None, "endAt": None, "recurrence": None, "timezone": "UTC"}
#: The names of a schedule's fields, as the model has them and as the document has them.
_SCHEDULE_FIELDS: Mapping[str, str] = {
    "start_at": "startAt",
    "end_at": "endAt",
    "recurrence": "recurrence",
    "timezone": "timezone",
}


async def fields_of_new(repositories: Repositories, merchant_id: str, body: CreateCampaign) -> CampaignFields:
    """Return the fields of a campaign that is to be made.

    Raises:
        InvalidContent: naming all that does not exist, or all that is wrong with the schedule.
    """
    fields: CampaignFields = {
        "name": body.name,
        "type": body.type,
        "accountId": body.account_id,
        "templateId": body.template_id,
        "segmentIds": body.segment_ids,
        "excludeSegmentIds": body.exclude_segment_ids,
        "schedule": _changed_schedule(_NO_SCHEDULE, body.schedule),
        "variables": {**body.variables},
        "variants": _variants(body.variants),
        "controlShare": body.control_share,
    }
    # A rule that never comes may take a good part of a second to be seen through: other requests need not wait for it.
    await asyncio.to_thread(_check_schedule, fields["schedule"])
    await _check_references(repositories, merchant_id, fields)
    return fields


async def fields_of_changed(
    repositories: Repositories, known: CampaignDocument, body: ChangeCampaign
) -> CampaignFields:
    """Return the fields of a campaign that is to be changed; what isn't given stays.

    Raises:
        InvalidContent: naming all that does not exist, or all that is wrong with the schedule; also where a campaign
            that is scheduled would have no time or no segments any more.
    """
    given = body.model_fields_set
    fields: CampaignFields = {
        "name": body.name or known["name"],
        "type": body.type or known["type"],
        "accountId": body.account_id if "account_id" in given else known["accountId"],
        "templateId": body.template_id or (None if body.variants else known["templateId"]),
        "segmentIds": known["segmentIds"] if body.segment_ids is None else body.segment_ids,
        "excludeSegmentIds": (
            known["excludeSegmentIds"] if body.exclude_segment_ids is None else body.exclude_segment_ids
        ),
        "schedule": _schedule_of(known, body),
        "variables": known["variables"] if body.variables is None else {**body.variables},
        "variants": _variants(body.variants or ()) if body.template_id or body.variants else known["variants"],
        "controlShare": known["controlShare"] if body.control_share is None else body.control_share,
    }
    # A rule that never comes may take a good part of a second to be seen through: other requests need not wait for it.
    await asyncio.to_thread(_check_schedule, fields["schedule"])
    if known["status"] == "scheduled":
        _check_scheduled(fields)
    await _check_references(repositories, known["merchantId"], fields)
    return fields


def _schedule_of(known: CampaignDocument, body: ChangeCampaign) -> ScheduleDocument:
    if "schedule" in body.model_fields_set and body.schedule is None:
        return _NO_SCHEDULE
    return _changed_schedule(known["schedule"], body.schedule)


def _changed_schedule(known: ScheduleDocument, given: ScheduleInput | None) -> ScheduleDocument:
    if given is None:
        return known
    changes = {_SCHEDULE_FIELDS[name]: getattr(given, name) for name in given.model_fields_set}
    return cast("ScheduleDocument", {**known, **changes})


def _variants(given: Iterable[VariantInput]) -> list[VariantDocument]:
    return [VariantDocument(name=each.name, templateId=each.template_id, weight=each.weight) for each in given]


def _check_schedule(schedule: ScheduleDocument) -> None:
    start_at, end_at, recurrence = schedule["startAt"], schedule["endAt"], schedule["recurrence"]
    problems = []
    if start_at is not None and end_at is not None and end_at <= start_at:
        problems.append(Problem("schedule.endAt", "must be after startAt"))
    if recurrence is not None and start_at is None:
        problems.append(Problem("schedule.startAt", "is needed where there is a recurrence"))
    if problems:
        raise InvalidContent("The schedule is wrong", problems=tuple(problems))
    if recurrence is not None and start_at is not None:
        Recurrence.parse(recurrence, start_at, schedule["timezone"])


def _check_scheduled(fields: CampaignFields) -> None:
    problems = []
    if fields["schedule"]["startAt"] is None:
        problems.append(Problem("schedule.startAt", "is needed as long as the campaign is scheduled"))
    if not fields["segmentIds"]:
        problems.append(Problem("segmentIds", "are needed as long as the campaign is scheduled"))
    if problems:
        raise InvalidContent("The campaign is scheduled", problems=tuple(problems))


async def _check_references(repositories: Repositories, merchant_id: str, fields: CampaignFields) -> None:
    templates = _templates(fields)
    segments = {name: fields[name] for name in ("segmentIds", "excludeSegmentIds")}
    no_templates = await repositories.templates.missing(merchant_id, set(templates.values()))
    no_segments = await repositories.segments.missing(merchant_id, {each for ids in segments.values() for each in ids})
    problems = [Problem(path, "is no template of yours") for path, id_ in templates.items() if id_ in no_templates]
    problems += _missing_segments(segments, no_segments)
    account_id = fields["accountId"]
    if account_id is not None and await repositories.accounts.get(merchant_id, account_id) is None:
        problems.append(Problem("accountId", "is no account of yours"))
    if problems:
        raise InvalidContent("The campaign refers to what does not exist", problems=tuple(problems))


def _templates(fields: CampaignFields) -> dict[str, str]:
    """Return the ids of all templates by their fields' paths."""
    paths = {f"variants.{index}.templateId": each["templateId"] for index, each in enumerate(fields["variants"])}
    return paths if fields["templateId"] is None else {"templateId": fields["templateId"], **paths}


def _missing_segments(segments: Mapping[str, Sequence[str]], missing: set[str]) -> Iterator[Problem]:
    for name, ids in segments.items():
        for index, segment_id in enumerate(ids):
            if segment_id in missing:
                yield Problem(f"{name}.{index}", "is no segment of yours")
