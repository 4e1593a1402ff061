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
from actors.clients.safe_fetch import safe_fetch_of
from actors.clients.x_app import XApp
from actors.clients.x_transport import MOST_CONNECTIONS
from actors.conversation import ConversationActor
from actors.conversation_services import ConversationServices
from actors.dialogue import Answers, dialogue_of
from actors.flow import FlowActor, FlowActorServices
from actors.flow_effects import FlowEffects
from actors.flow_effects_ai import Ask, ConversationReplies, FlowAnswers, NoReplies
from actors.flow_effects_http import FlowCalls
from actors.flow_effects_send import AccountBell, FlowMessages
from actors.flow_executor import ExecutorServices, FlowExecutor
from actors.merchant_limit import LimitServices, MerchantLimit
from actors.runtime.host import Factory
from actors.webhook_call import WebhookCalls
from actors.webhook_endpoint import WebhookEndpointActor, WebhookEndpointServices
from actors.webhook_events import WebhookEvents
from actors.webhook_feed import WebhookFeed, WebhookFeedServices
from config.settings import Settings
from domain.clock import Waker
from domain.send_windows import Limits
from storage.account_budgets import AccountBudgets
from storage.accounts import Accounts
from storage.actor_states import ActorStates
from storage.ai_sessions import AiSessions
from storage.bot_steps import BotSteps
from storage.campaign_audience import CampaignAudience
from storage.campaign_recipients import CampaignRecipients
from storage.campaign_runs import CampaignRuns
from storage.client import Client, Database
from storage.encryption import key_ring
from storage.flow_documents import EXECUTOR
from storage.flow_events import FlowEvents
from storage.flow_executions import FlowExecutions
from storage.flow_secrets import FlowSecrets
from storage.flow_sends import FlowSends
from storage.flow_situations import FlowSituations
from storage.flow_versions import FlowVersions
from storage.flow_work import FlowWork
from storage.flow_writes import FlowWrites
from storage.outbox import Outbox
from storage.reminders import Reminders
from storage.segments import Segments
from storage.templates import Templates
from storage.webhook_deliveries import WebhookDeliveries
from storage.webhook_endpoints import WebhookEndpoints

#: Sends of campaigns under way at once in one host.
_CAMPAIGN_SENDS = MOST_CONNECTIONS * 3 // 4
#: Deliveries to webhook endpoints under way at once in one host, to all of them.
_DELIVERIES = 1_024


def actor_factories(
    settings: Settings,
    client: Client,
    database: Database,
    session: aiohttp.ClientSession,
    clock: Waker,
    epoch: int,
    tell: Tell,
    *,
    ask: Ask | None = None,
    answers: Answers | None = None,
    webhooks: WebhookEvents | None = None,
    name: str = "host",
) -> Mapping[str, Factory]:
    """Return how an actor of each kind is made in one host; `tell` reaches actors wherever they are.

    `ask` does so for an answer; without it flows have no chatbot.
    `answers` is what the chatbot answers with; without it that is made of the settings.
    `webhooks` knows what merchants are told; without it there are no actors that tell them.
    `name` tells hosts apart that are at work at the same time.
    """
    runs, recipients = CampaignRuns(client, database), CampaignRecipients(client, database)
    accounts = AccountServices(
        settings=settings,
        states=ActorStates(database, "accountActors"),
        outbox=Outbox(client, database, name=name, of_flows=lambda contact_id: tell(EXECUTOR, contact_id, "take")),
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
    conversations = ConversationServices(
        steps=BotSteps(client, database),
        sessions=AiSessions(database),
        answers=answers or dialogue_of(settings, database, clock),
        clock=clock,
        tell=tell,
    )
    flows = FlowActorServices(
        settings=settings,
        work=FlowWork(database),
        audience=CampaignAudience(database, Segments(database)),
        reminders=Reminders(database),
        clock=clock,
    )
    executors = _executors(settings, client, database, clock, tell, ask, name)
    return {
        AccountActor.kind: lambda key: AccountActor(key, accounts),
        MerchantLimit.kind: lambda key: MerchantLimit(key, limits),
        CampaignActor.kind: lambda key: CampaignActor(key, campaigns),
        FlowActor.kind: lambda key: FlowActor(key, flows),
        ConversationActor.kind: lambda key: ConversationActor(key, conversations),
        FlowExecutor.kind: lambda key: FlowExecutor(key, executors),
        **({} if webhooks is None else _webhook_factories(settings, database, clock, epoch, tell, webhooks)),
    }


def _executors(
    settings: Settings, client: Client, database: Database, clock: Waker, tell: Tell, ask: Ask | None, name: str
) -> ExecutorServices:
    """Return what the executors of flows of one host work with."""
    events, bell = FlowEvents(database), AccountBell(tell)
    sends = FlowSends(client, database, bell.ring)
    return ExecutorServices(
        situations=FlowSituations(database),
        executions=FlowExecutions(client, database, name=name),
        events=events,
        versions=FlowVersions(database),
        segments=Segments(database),
        reminders=Reminders(database),
        effects=FlowEffects(
            events=events,
            writes=FlowWrites(client, database),
            messages=FlowMessages(sends, clock),
            calls=FlowCalls(sends, safe_fetch_of(settings), FlowSecrets(key_ring(settings))),
            answers=FlowAnswers(sends, NoReplies() if ask is None else ConversationReplies(ask), clock),
            clock=clock,
        ),
        clock=clock,
        tell=tell,
    )


def _webhook_factories(
    settings: Settings, database: Database, clock: Waker, epoch: int, tell: Tell, events: WebhookEvents
) -> Mapping[str, Factory]:
    """Return how the actors are made that tell merchants' webhook endpoints what happens."""
    endpoints, deliveries = WebhookEndpoints(database, key_ring(settings)), WebhookDeliveries(database)
    feed = WebhookFeedServices(
        database=database,
        states=ActorStates(database, "webhookFeeds"),
        endpoints=endpoints,
        deliveries=deliveries,
        events=events,
        clock=clock,
        epoch=epoch,
        tell=tell,
    )
    sending = WebhookEndpointServices(
        database=database,
        endpoints=endpoints,
        deliveries=deliveries,
        reminders=Reminders(database),
        events=events,
        calls=WebhookCalls(settings, safe_fetch_of(settings), most_at_once=_DELIVERIES),
        clock=clock,
        at_once=settings.outgoing_webhooks_at_once,
    )
    return {
        WebhookFeed.kind: lambda key: WebhookFeed(key, feed),
        WebhookEndpointActor.kind: lambda key: WebhookEndpointActor(key, sending),
    }
