"""Which active flows of a merchant something that happened starts, without a look at each of them.

A message costs a look-up for each of its words and each length of the keywords that begin with that word, however many
flows there are. What is found is exactly what `domain.flow_triggers.starts` says of each flow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from domain.contact_fields import folded_tag
from domain.flow_triggers import (
    Happening,
    OnCampaignReplied,
    OnMention,
    OnMessage,
    OnSchedule,
    OnSegmentEntered,
    OnTagAdded,
    ReEntry,
    Trigger,
    Words,
    keyword_words,
)

_SPOKEN = frozenset({OnMessage.kind, OnMention.kind})


@dataclass(frozen=True, slots=True)
class ActiveFlow:
    """What is known of an active flow where things happen; a null account means all of the merchant.

    `listens` is whether it has a node that waits for a reply.
    """

    id: str
    version: int
    account_id: str | None
    trigger: Trigger
    re_entry: ReEntry = ReEntry.AFTER_COMPLETED
    listens: bool = False


class FlowIndex:
    """The active flows of one merchant; `may_listen` is whether executions, of whatever flow, may wait for replies."""

    def __init__(self, flows: Iterable[ActiveFlow], *, may_listen: bool = False) -> None:
        self.flows = {flow.id: flow for flow in sorted(flows, key=lambda flow: flow.id)}
        self.may_listen = may_listen or any(flow.listens for flow in self.flows.values())
        self.kinds = frozenset(flow.trigger.kind for flow in self.flows.values())
        self._any: dict[str, list[ActiveFlow]] = {}
        self._about: dict[tuple[str, str], list[ActiveFlow]] = {}
        self._keywords = {kind: _Keywords() for kind in _SPOKEN & self.kinds}
        for flow in self.flows.values():
            self._add(flow)

    def started_by(self, account_id: str, happening: Happening) -> list[ActiveFlow]:
        """Return the flows that something starts which happened to a contact of this account, in order of their ids."""
        if happening.kind not in self.kinds:
            return []
        about = folded_tag(happening.about) if happening.kind == OnTagAdded.kind else happening.about
        found = [*self._any.get(happening.kind, ()), *self._about.get((happening.kind, about), ())]
        keywords = self._keywords.get(happening.kind)
        if keywords is not None and keywords.flows:
            said = keywords.flows_in(keyword_words(happening.about))
            found += [self.flows[flow_id] for flow_id in said]
        return sorted(
            (flow for flow in found if flow.account_id is None or flow.account_id == account_id),
            key=lambda flow: flow.id,
        )

    def _add(self, flow: ActiveFlow) -> None:
        match flow.trigger:
            case OnMessage(keywords, exact) | OnMention(keywords, exact) if keywords:
                self._keywords[flow.trigger.kind].add(flow.id, keywords, exact=exact)
            case OnTagAdded(str(about)) | OnCampaignReplied(str(about)):
                self._about.setdefault((flow.trigger.kind, about), []).append(flow)
            case OnSegmentEntered(about) | OnSchedule(about):
                self._about.setdefault((flow.trigger.kind, about), []).append(flow)
            case _:
                self._any.setdefault(flow.trigger.kind, []).append(flow)


class _Keywords:
    """The keywords of flows, each as its words: found in a text by the word that they begin with."""

    def __init__(self) -> None:
        self.flows: set[str] = set()
        self._whole: dict[Words, list[str]] = {}
        self._phrases: dict[Words, list[str]] = {}
        self._lengths: dict[str, list[int]] = {}

    def add(self, flow_id: str, keywords: Iterable[str], *, exact: bool) -> None:
        self.flows.add(flow_id)
        for words in {keyword_words(each) for each in keywords}:
            (self._whole if exact else self._phrases).setdefault(words, []).append(flow_id)
            lengths = self._lengths.setdefault(words[0], []) if words and not exact else []
            if len(words) not in lengths:
                lengths.append(len(words))

    def flows_in(self, said: Words) -> set[str]:
        found = {*self._whole.get(said, ()), *self._phrases.get((), ())}
        for start, word in enumerate(said):
            for length in self._lengths.get(word, ()):
                found.update(self._phrases.get(said[start : start + length], ()))
        return found
