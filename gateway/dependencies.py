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
from storage.api_keys import ApiKeys
from storage.audit import AuditTrail
from storage.campaign_reports import CampaignReports
from storage.campaigns import Campaigns
from storage.client import Database
from storage.contacts import Contacts
from storage.conversations import Conversations
from storage.dead_letters import DeadLetters
from storage.encryption import KeyRing
from storage.idempotency import IdempotencyKeys
from storage.login_attempts import LoginAttempts
from storage.merchants import Merchants
from storage.message_counts import MessageCounts
from storage.message_search import MessageSearch
from storage.messages import Messages
from storage.notes import Notes
from storage.password_resets import PasswordResets
from storage.refresh_tokens import RefreshTokens
from storage.segments import Segments
from storage.standings import Standings
from storage.templates import Templates
from storage.tracked_links import TrackedLinks
from storage.users import Users


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
    message_counts: MessageCounts
    message_search: MessageSearch
    notes: Notes
    templates: Templates
    segments: Segments
    campaigns: Campaigns
    campaign_reports: CampaignReports
    tracked_links: TrackedLinks
    idempotency: IdempotencyKeys

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
            message_counts=MessageCounts(database),
            message_search=MessageSearch(database),
            notes=Notes(database),
            templates=Templates(database),
            segments=Segments(database),
            campaigns=Campaigns(database),
            campaign_reports=CampaignReports(database),
            tracked_links=TrackedLinks(database),
            idempotency=IdempotencyKeys(database, keys),
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
