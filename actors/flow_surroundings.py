"""What an execution asks about its contact, read before its turn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from domain.segment_conditions import All
from domain.segment_matching import matches
from domain.segment_query import CampaignContacts
from storage.flow_situations import Situation
from storage.flow_versions import FlowVersion, FlowVersions
from storage.segments import Segments


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The versions that a contact's executions run, by flow and number, and what is known of the contact."""

    versions: Mapping[tuple[str, int], FlowVersion | None]
    contact: Mapping[str, Any]
    campaigns: CampaignContacts

    def holds(self, conditions: All, at: datetime) -> bool:
        """Whether the contact meets conditions at a moment."""
        return matches(conditions, self.contact, at, self.campaigns)


async def knowledge_of(
    situation: Situation, contact: Mapping[str, Any], versions: FlowVersions, segments: Segments
) -> Knowledge:
    """Return what the executions of a situation go by."""
    numbers = {(each["flowId"], each["version"]) for each in situation.executions.values()}
    numbers |= {(each["flowId"], each["version"]) for each in situation.events if each["kind"] == "start"}
    found = {number: await versions.get(*number) for number in sorted(numbers)}
    asked = tuple(each.conditions for each in found.values() if each is not None and each.conditions is not None)
    campaigns = await segments.reached(contact["merchantId"], contact["_id"], All(asked)) if asked else {}
    return Knowledge(found, contact, campaigns)
