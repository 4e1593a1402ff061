"""Test messages of a campaign: sent like a person's own, and counted nowhere."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from domain.account_key import AccountKey
from domain.campaign_message import CampaignContent, fillings_for
from domain.errors import Conflict, InvalidContent, LimitExceeded, NotFound, Problem, Unavailable, XRefused
from domain.ids import new_id, related_id
from domain.templates import Value, render
from gateway.dependencies import Dependencies
from gateway.models.campaigns import TestedContact
from gateway.principal import Principal
from gateway.sending import Outgoing, send
from storage.accounts import AccountDocument
from storage.campaigns import CampaignDocument
from storage.contacts import ContactDocument


@dataclass(frozen=True, slots=True)
class Trial:
    """Who gets a test message, and with what; the id makes a repeated request the same messages."""

    id: str
    contact_ids: Sequence[str]
    variables: Mapping[str, Value]
    variant: str | None


@dataclass(frozen=True, slots=True)
class _Receiver:
    contact: ContactDocument
    account: AccountDocument
    message_id: str


async def try_out(
    deps: Dependencies, sender: Principal, campaign: CampaignDocument, trial: Trial
) -> list[TestedContact]:
    """Send a campaign's message to some contacts now, and return what became of each.

    Nothing is sent before the message is rendered for all of them. Links stay as they are: nothing is tracked.

    Raises:
        InvalidContent: when a contact, the variant or the template does not exist, or nothing fills a variable.
    """
    content = await _content(deps, campaign, trial.variant)
    receivers = await _receivers(deps, sender.merchant_id, trial)
    variables = {**campaign["variables"], **trial.variables}
    # Bounded, but up to a good part of a second each: other requests need not wait for it.
    texts = [await asyncio.to_thread(_rendered, content, each, variables) for each in receivers]
    return list(
        await asyncio.gather(
            *(_send(deps, sender, each, content, text) for each, text in zip(receivers, texts, strict=True))
        )
    )


async def _content(deps: Dependencies, campaign: CampaignDocument, variant: str | None) -> CampaignContent:
    template_ids = {each["name"]: each["templateId"] for each in campaign["variants"]}
    if variant is not None and variant not in template_ids:
        raise InvalidContent("There is no such variant", problems=(Problem("variant", "is no variant of it"),))
    template_id = campaign["templateId"] or next(iter(template_ids.values()), "")
    if variant is not None:
        template_id = template_ids[variant]
    template = await deps.repositories.templates.get(campaign["merchantId"], template_id)
    if template is None:
        raise InvalidContent("The template is gone", problems=(Problem("templateId", "does not exist any more"),))
    return CampaignContent.of(template["type"], template["content"], template["options"], template["buttons"])


async def _receivers(deps: Dependencies, merchant_id: str, trial: Trial) -> list[_Receiver]:
    receivers: list[_Receiver] = []
    problems: list[Problem] = []
    for index, contact_id in enumerate(trial.contact_ids):
        contact = await deps.repositories.contacts.get(merchant_id, contact_id)
        account = contact and await deps.repositories.accounts.get(merchant_id, contact["accountId"])
        if contact is None or account is None:
            problems.append(Problem(f"contactIds.{index}", "is no contact of yours"))
        else:
            receivers.append(_Receiver(contact, account, related_id(trial.id, index)))
    if problems:
        raise InvalidContent("There is no such contact", problems=tuple(problems))
    return receivers


def _rendered(content: CampaignContent, to: _Receiver, variables: Mapping[str, Value]) -> str:
    return render(content.content, fillings_for(to.contact, to.account, variables))


async def _send(
    deps: Dependencies, sender: Principal, to: _Receiver, content: CampaignContent, text: str
) -> TestedContact:
    contact_id = to.contact["_id"]
    if to.contact["consent"]["state"] == "opted_out":
        return TestedContact(contactId=contact_id, messageId=None, status="refused", error="opted_out")
    account = AccountKey(to.account["_id"], to.account["merchantId"], to.account["twitterUserId"])
    conversation = await deps.repositories.conversations.open_with(account, to.contact, deps.clock.now(), new_id())
    outgoing = Outgoing(
        to.message_id,
        conversation["_id"],
        content.type,
        text,
        options=content.options,
        buttons=content.buttons,
        source="test",
    )
    try:
        message = await send(deps, sender, outgoing, wait=True)
    except XRefused as error:
        reason = str((error.details or {}).get("reason", "failed"))
        return TestedContact(contactId=contact_id, messageId=to.message_id, status="failed", error=reason)
    except (Conflict, LimitExceeded, NotFound, Unavailable) as error:
        return TestedContact(contactId=contact_id, messageId=None, status="refused", error=error.message)
    return TestedContact.model_validate(
        {"contactId": contact_id, "messageId": message["_id"], "status": message["status"], "error": None}
    )
