"""Every kind of actor, and what each works with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import aiohttp

from actors.account import AccountActor, AccountServices
from actors.attachments import Attachments
from actors.campaign import CampaignActor
from actors.campaign_feed import FeedServices
from actors.campaign_run import CampaignServices, Tell
from actors.clients.x_app import XApp
from actors.clients.x_transport import MOST_CONNECTIONS
from actors.merchant_limit import LimitServices, MerchantLimit
from actors.runtime.host import Factory
from config.settings import Settings
from domain.clock import Waker
from domain.send_windows import Limits
from storage.account_budgets import AccountBudgets
from storage.accounts import Accounts
from storage.actor_states import ActorStates
from storage.campaign_audience import CampaignAudience
from storage.campaign_recipients import CampaignRecipients
from storage.campaign_runs import CampaignRuns
from storage.client import Client, Database
from storage.encryption import key_ring
from storage.outbox import Outbox
from storage.reminders import Reminders
from storage.segments import Segments
from storage.templates import Templates

#: Sends of campaigns under way at once in one host.
_CAMPAIGN_SENDS = MOST_CONNECTIONS * 3 // 4


def actor_factories(
    settings: Settings,
    client: Client,
    database: Database,
    session: aiohttp.ClientSession,
    clock: Waker,
    epoch: int,
    tell: Tell,
    *,
    name: str = "host",
) -> Mapping[str, Factory]:
    """Return how an actor of each kind is made in one host; `tell` reaches actors wherever they are.

    `name` tells hosts apart that are at work at the same time.
    """
    runs, recipients = CampaignRuns(client, database), CampaignRecipients(client, database)
    accounts = AccountServices(
        settings=settings,
        states=ActorStates(database, "accountActors"),
        outbox=Outbox(client, database, name=name),
        accounts=Accounts(database, key_ring(settings)),
        x=XApp(settings, session, clock),
        attachments=Attachments(settings, clock),
        feed=FeedServices(settings, runs, recipients, {}, clock, asyncio.Semaphore(_CAMPAIGN_SENDS)),
        clock=clock,
        epoch=epoch,
    )
    limits = LimitServices(
        limit=settings.api_calls_per_minute,
        states=ActorStates(database, "merchantLimits"),
        clock=clock,
        epoch=epoch,
    )
    campaigns = CampaignServices(
        settings=settings,
        runs=runs,
        recipients=recipients,
        audience=CampaignAudience(database, Segments(database)),
        templates=Templates(database),
        budgets=AccountBudgets(database, Limits.of(settings)),
        reminders=Reminders(database),
        clock=clock,
        tell=tell,
    )
    return {
        AccountActor.kind: lambda key: AccountActor(key, accounts),
        MerchantLimit.kind: lambda key: MerchantLimit(key, limits),
        CampaignActor.kind: lambda key: CampaignActor(key, campaigns),
    }
