"""Every setting of the program: typed, described, read once from the environment.

The names, defaults and meanings come from part 1 of the contract. Each field is read from the variable
`MKTX_<FIELD NAME IN CAPITALS>`; an empty value means "not set".
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "MKTX_"


class Settings(BaseSettings):
    """The whole configuration; frozen, passed down explicitly."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="ignore", allow_inf_nan=False
    )

    # --- HTTP
    host: str = Field("127.0.0.1", description="Address that the gateway binds to.")
    port: int = Field(5000, ge=0, le=65535, description="Port that the gateway listens on; 0 picks a free one.")
    public_url: str = Field("", description="Address under which X and customers reach the gateway (https, no port).")
    gateways: int = Field(1, ge=1, le=64, description="Gateway processes on this machine; they share the port.")
    max_body_bytes: int = Field(1024 * 1024, ge=1024, le=4 * 1024 * 1024, description="Largest request body in bytes.")
    request_head_timeout_s: float = Field(10, gt=0, description="Seconds a client may take to send a request's head.")
    request_body_timeout_s: float = Field(30, gt=0, description="Seconds a client may take to send a request's body.")
    shutdown_grace_s: float = Field(12, gt=0, le=60, description="Seconds that work in hand gets when stopping.")
    login_attempts_per_minute: int = Field(10, ge=1, description="Failed logins per minute and address or account.")
    api_calls_per_minute: int = Field(100, ge=1, le=10_000_000, description="API calls per merchant in any 60 seconds.")
    event_streams_per_merchant: int = Field(20, ge=1, description="Streams of events per merchant and gateway process.")
    event_heartbeat_s: float = Field(15, gt=0, description="Seconds between heartbeats of a quiet stream of events.")
    event_stream_lifetime_s: float = Field(3600, gt=0, description="Seconds after which a stream of events is ended.")
    event_buffer_bytes: int = Field(
        1024 * 1024, ge=1024, description="Bytes of events that may wait for a client before it is cut off."
    )
    event_catch_up: int = Field(
        20_000, ge=1, description="Most changes, of all merchants, that are gone through for a client that resumes."
    )

    # --- data
    data_dir: Path = Field(Path(".data"), description="Embedded database, generated keys, logs.")
    mongodb_uri: SecretStr = Field(SecretStr(""), description="MongoDB 6, 7 or 8; empty starts the embedded one.")
    mongodb_database: str = Field("mktx", pattern=r"^[A-Za-z0-9_-]{1,38}$", description="Database name.")
    mongodb_driver: Literal["pymongo", "motor"] = Field("pymongo", description="Driver: PyMongo's async API or Motor.")
    mongodb_cache_mb: int = Field(256, ge=256, description="Cache of the embedded database in MiB.")
    mongodb_timeout_s: float = Field(10, gt=0, description="Seconds that one database operation may take.")

    # --- actors
    ray_address: str = Field("", description="Ray cluster to join (auto or host:port); empty starts a local one.")
    ray_start_timeout_s: float = Field(180, gt=0, description="Seconds that one try to start Ray may take.")
    actor_hosts: int = Field(0, ge=0, le=256, description="Actor host processes; 0 means one a core.")
    actor_idle_s: float = Field(300, gt=0, description="Seconds after which an idle actor leaves memory.")
    actor_limit: int = Field(50_000, ge=100, description="Most actors kept in memory by one host.")
    actor_mailbox: int = Field(1000, ge=1, description="Most messages waiting for one actor.")
    actor_call_timeout_s: float = Field(30, gt=0, description="Seconds after which a call to an actor is given up.")
    ingest_batch: int = Field(256, ge=1, le=5000, description="Most events that a host processes in one transaction.")

    # --- X
    x_api_base_url: str = Field("https://api.x.com", description="X API; v1.1 and v2 hang under it.")
    x_upload_base_url: str = Field("", description="Media uploads; empty means the same as the X API.")
    x_consumer_key: str = Field("", description="API key of the X app; empty uses the bundled sandbox.")
    x_consumer_secret: SecretStr = Field(SecretStr(""), description="API key secret; also signs webhooks.")
    x_consumer_secret_old: SecretStr = Field(SecretStr(""), description="Former secret, still accepted on webhooks.")
    x_bearer_token: SecretStr = Field(SecretStr(""), description="App bearer token, for webhook management.")
    x_webhook_id: str = Field("", description="Id of the webhook registered with X; empty looks it up or registers.")
    x_timeout_s: float = Field(15, gt=0, description="Seconds that one call of X may take.")
    x_settle_timeout_s: float = Field(
        900, gt=0, description="Seconds after which a send whose outcome can't be learnt fails as ambiguous."
    )
    x_messages_per_day: int = Field(500, ge=1, description="Messages per account in any 24 hours (X's own limit).")
    x_reserve_for_people: float = Field(
        0.2,
        ge=0,
        le=0.95,
        description="Share of the messages a day, and of each of X's windows, that campaigns leave to people.",
    )
    x_campaign_messages_per_day: int = Field(
        10_000, ge=1, description="Messages of campaigns per account in any 24 hours."
    )
    x_webhook_check_s: float = Field(300, gt=0, description="Seconds between checks that the webhook is valid.")

    # --- campaigns
    campaign_misfire_grace_s: float = Field(
        3600, ge=0, description="Seconds by which a scheduled campaign may be late; after that it waits for a person."
    )
    campaign_reply_window_s: float = Field(
        72 * 3600, ge=0, description="Seconds in which an answer belongs to a campaign's message."
    )

    # --- flows
    flow_segment_check_s: float = Field(
        60, ge=1, description="Seconds between looks at who has entered a segment that starts a flow."
    )

    # --- links that people give
    attachment_timeout_s: float = Field(
        120, gt=0, le=3600, description="Seconds that fetching one attachment may take."
    )
    fetch_private_addresses: bool = Field(
        False,
        description="Follow links to private and loopback addresses, on any port; for tests and development only.",
    )
    example_sites_url: str = Field(
        "", description="Server that stands in for example.com, .net and .org; the bundled sandbox sets it to itself."
    )

    # --- webhooks of merchants
    outgoing_webhook_timeout_s: float = Field(
        15, gt=0, le=60, description="Seconds that a merchant's webhook endpoint may take to answer."
    )
    outgoing_webhooks_at_once: int = Field(
        8, ge=1, le=100, description="Deliveries under way to one webhook endpoint at once."
    )

    # --- AI
    openai_base_url: str = Field(
        "", description="OpenAI-compatible server; empty is OpenAI with a key, else the bundled sandbox."
    )
    openai_api_key: SecretStr = Field(SecretStr(""), description="Key for the model server.")
    openai_timeout_s: float = Field(20, gt=0, description="Seconds that one call of the model server may take.")
    openai_retries: int = Field(2, ge=0, le=10, description="Times that a failed call of the model server is repeated.")
    openai_answer_timeout_s: float = Field(
        28, gt=0, description="Seconds that one answer may take, with its repetitions and look-ups."
    )
    openai_calls_at_once: int = Field(256, ge=1, description="Calls of the model server under way in one host.")

    # --- identity
    jwt_secret: SecretStr = Field(SecretStr(""), description="HS256 secret of access tokens; empty generates one.")
    jwt_public_key: str = Field("", description="PEM public key (RS256/ES256) of an external token issuer.")
    jwt_jwks_url: str = Field("", description="JWKS address of an external token issuer.")
    jwt_issuer: str = Field("", description="Expected iss; empty does not check.")
    jwt_audience: str = Field("", description="Expected aud; empty does not check.")
    access_token_ttl_s: int = Field(3600, ge=60, description="Lifetime of an access token in seconds.")
    refresh_token_ttl_s: int = Field(30 * 86400, ge=60, description="Lifetime of a refresh token in seconds.")
    admin_email: str = Field("", description="E-mail of the first user; empty generates one.")
    admin_password: SecretStr = Field(SecretStr(""), description="Password of the first user; empty generates one.")
    encryption_key: SecretStr = Field(
        SecretStr(""), description="Base64 of 32 bytes that encrypts X tokens at rest; empty generates one."
    )
    encryption_keys_old: SecretStr = Field(
        SecretStr(""), description="Former encryption keys, comma-separated, still read."
    )

    # --- operation
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["json", "text"] = Field("json", description="Shape of log lines.")
    tracing_endpoint: str = Field(
        "", description="OpenTelemetry collector that gets traces (OTLP/HTTP, http://127.0.0.1:4318); empty: none."
    )
    sandbox_port: int = Field(0, ge=0, le=65535, description="Port of the bundled sandbox; 0 picks a free one.")
    sandbox_customers: int = Field(8, ge=0, description="Simulated customers of the bundled sandbox.")
    sandbox_rate: float = Field(0.2, ge=0, description="Messages a second that the simulated customers write.")
    sandbox_account_id: str = Field("100", description="X user id of the simulated shop account.")

    @field_validator(
        "x_api_base_url",
        "x_upload_base_url",
        "public_url",
        "example_sites_url",
        "openai_base_url",
        "jwt_jwks_url",
        "tracing_endpoint",
    )
    @classmethod
    def _http_address(cls, value: str) -> str:
        if value:
            parts = urlsplit(value)
            # Reading the port raises where it is none.
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
                raise ValueError("must be an http or https address")
        return value.rstrip("/")

    @property
    def tracked_link_base(self) -> str:
        """Where tracked links lead; empty where customers could not reach it: links are left as they are then."""
        if self.public_url:
            return self.public_url.rstrip("/")
        return f"http://{self.host}:{self.port}" if self.uses_sandbox and self.port else ""

    @property
    def upload_base_url(self) -> str:
        """Address of media uploads."""
        return self.x_upload_base_url or self.x_api_base_url

    @property
    def uses_sandbox(self) -> bool:
        """Whether the bundled simulated X stands in for the real one."""
        return not self.x_consumer_key


class WrongSetting(Exception):
    """A setting has a value that can't be used, or there is none; the text is one line that names the variable."""


def load(**overrides: object) -> Settings:
    """Read the settings from the environment.

    Raises:
        WrongSetting: naming the first variable that is no setting, or whose value can't be used.
    """
    _check_names(name for name, value in os.environ.items() if value)  # noqa: TID251  # the values are read below
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # overrides are validated like the environment
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        raise WrongSetting(f"{name}: {first['msg']}") from None


def _check_names(names: Iterable[str]) -> None:
    """Check that each variable with our prefix is a setting: a misspelt one would be silently without effect."""
    known = [PREFIX + field.upper() for field in Settings.model_fields]
    unknown = {name for name in names if name.upper().startswith(PREFIX)} - set(known)
    for name in sorted(unknown):
        if name.upper() not in known:
            [nearest] = get_close_matches(name.upper(), known, n=1, cutoff=0)
            raise WrongSetting(f"{name}: there is no such setting; the nearest is {nearest}")
