"""What the HTTP side is given by the program; handlers reach it as `call.deps`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Self

from aiohttp import web

from actors.attachments import Attachments
from actors.clients.x_app import XApp
from actors.runtime.system import ActorSystem
from config.settings import Settings
from domain.clock import Clock
from gateway.background import Background
from gateway.passwords import Passwords
from gateway.tokens import AccessTokens
from storage.accounts import Accounts
from storage.ai_knowledge import AiKnowledge
from storage.ai_sessions import AiSessions
from storage.ai_settings import AiSettings
from storage.ai_tools import AiTools
from storage.ai_usage import AiUsage
from storage.analytics_sources import AnalyticsSources
from storage.api_keys import ApiKeys
from storage.audit import AuditTrail
from storage.campaign_reports import CampaignReports
from storage.campaigns import Campaigns
from storage.client import Database
from storage.contacts import Contacts
from storage.conversations import Conversations
from storage.dead_letters import DeadLetters
from storage.encryption import KeyRing
from storage.flow_execution_reports import FlowExecutionReports
from storage.flow_orders import FlowOrders
from storage.flow_secrets import FlowSecrets
from storage.flows import Flows
from storage.idempotency import IdempotencyKeys
from storage.login_attempts import LoginAttempts
from storage.merchants import Merchants
from storage.message_search import MessageSearch
from storage.messages import Messages
from storage.notes import Notes
from storage.password_resets import PasswordResets
from storage.refresh_tokens import RefreshTokens
from storage.rollups import Rollups
from storage.segments import Segments
from storage.standings import Standings
from storage.templates import Templates
from storage.tracked_links import TrackedLinks
from storage.users import Users
from storage.webhook_deliveries import WebhookDeliveries
from storage.webhook_endpoints import WebhookEndpoints


@dataclass(frozen=True, slots=True)
class PartHealth:
    """How one part of the program is; `detail` is for people and names no address, path or secret."""

    ready: bool
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Repositories:
    """Access to every collection that REST calls read or write."""

    merchants: Merchants
    users: Users
    standings: Standings
    api_keys: ApiKeys
    audit: AuditTrail
    refresh_tokens: RefreshTokens
    login_attempts: LoginAttempts
    password_resets: PasswordResets
    accounts: Accounts
    dead_letters: DeadLetters
    contacts: Contacts
    conversations: Conversations
    messages: Messages
    rollups: Rollups
    message_search: MessageSearch
    notes: Notes
    templates: Templates
    segments: Segments
    campaigns: Campaigns
    campaign_reports: CampaignReports
    flows: Flows
    flow_execution_reports: FlowExecutionReports
    flow_orders: FlowOrders
    flow_secrets: FlowSecrets
    ai_settings: AiSettings
    ai_sessions: AiSessions
    ai_knowledge: AiKnowledge
    ai_tools: AiTools
    ai_usage: AiUsage
    analytics: AnalyticsSources
    tracked_links: TrackedLinks
    idempotency: IdempotencyKeys
    webhook_endpoints: WebhookEndpoints
    webhook_deliveries: WebhookDeliveries

    @classmethod
    def of(cls, database: Database, keys: KeyRing) -> Self:
        """Return the repositories of a database."""
        return cls(
            merchants=Merchants(database),
            users=Users(database),
            standings=Standings(Users(database)),
            api_keys=ApiKeys(database),
            audit=AuditTrail(database),
            refresh_tokens=RefreshTokens(database),
            login_attempts=LoginAttempts(database),
            password_resets=PasswordResets(database),
            accounts=Accounts(database, keys),
            dead_letters=DeadLetters(database),
            contacts=Contacts(database),
            conversations=Conversations(database),
            messages=Messages(database),
            rollups=Rollups(database),
            message_search=MessageSearch(database),
            notes=Notes(database),
            templates=Templates(database),
            segments=Segments(database),
            campaigns=Campaigns(database),
            campaign_reports=CampaignReports(database),
            flows=Flows(database),
            flow_execution_reports=FlowExecutionReports(database),
            flow_orders=FlowOrders(database),
            flow_secrets=FlowSecrets(keys),
            ai_settings=AiSettings(database),
            ai_sessions=AiSessions(database),
            ai_knowledge=AiKnowledge(database),
            ai_tools=AiTools(database, keys),
            ai_usage=AiUsage(database),
            analytics=AnalyticsSources(database),
            tracked_links=TrackedLinks(database),
            idempotency=IdempotencyKeys(database, keys),
            webhook_endpoints=WebhookEndpoints(database, keys),
            webhook_deliveries=WebhookDeliveries(database),
        )


@dataclass(frozen=True, slots=True)
class Dependencies:
    """Everything that handlers work with; made once a process.

    `x` is nothing where no X is configured. `webhook_id` answers the id of the webhook that is registered with X, empty
    until it is known. `parts` answers how each part of the program is, by name.
    """

    settings: Settings
    database: Database
    repositories: Repositories
    actors: ActorSystem
    x: XApp | None
    attachments: Attachments
    webhook_id: Callable[[], str]
    clock: Clock
    tokens: AccessTokens
    passwords: Passwords
    background: Background
    parts: Callable[[], Awaitable[Mapping[str, PartHealth]]]


DEPENDENCIES = web.AppKey("dependencies", Dependencies)
