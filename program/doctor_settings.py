"""Settings that are fine for trying the program out, and dangerous in production."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from program.doctor_finding import Check, Finding, failed, ok, warning
from program.doctor_installation import Installation

#: X's own limit: messages of an account in any 24 hours.
_X_MESSAGES_PER_DAY = 500
#: HS256 wants a key as long as its hash (RFC 7518, 3.2).
_SHORTEST_SECRET_BYTES = 32


async def x_app(installation: Installation) -> Finding:
    """Look whether there is an X app, whole."""
    settings = installation.given
    if settings.uses_sandbox:
        return warning(
            "not set: the bundled sandbox stands in for X",
            "set MKTX_X_CONSUMER_KEY, MKTX_X_CONSUMER_SECRET and MKTX_X_BEARER_TOKEN for the real X",
        )
    secrets = {
        "MKTX_X_CONSUMER_SECRET": settings.x_consumer_secret,
        "MKTX_X_BEARER_TOKEN": settings.x_bearer_token,
    }
    missing = [name for name, secret in secrets.items() if not secret.get_secret_value()]
    if missing:
        return failed(f"{' and '.join(missing)} not set", "copy them from the app's page in X's developer portal")
    parts = urlsplit(settings.x_api_base_url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        return failed("X is called over plain http, which shows the bearer token", "set MKTX_X_API_BASE_URL to https")
    return ok("set")


async def public_url(installation: Installation) -> Finding:
    """Look whether X can be told where we are: it takes https only, without a port."""
    settings = installation.given
    if not settings.public_url:
        if settings.uses_sandbox:
            return ok("not set; the sandbox needs none")
        return failed("not set: X can't send events", "set MKTX_PUBLIC_URL to the https address that X reaches")
    parts = urlsplit(settings.public_url)
    if parts.scheme != "https":
        judge = (
            warning
            if settings.uses_sandbox or is_loopback(urlsplit(settings.x_api_base_url).hostname or "")
            else failed
        )
        return judge("http: X takes https only", "put a proxy with TLS in front and set MKTX_PUBLIC_URL to it")
    if parts.port is not None:
        return failed(
            "has a port: X takes none", "let the proxy listen on 443 and take the port out of MKTX_PUBLIC_URL"
        )
    return ok(f"https at {parts.hostname}")


async def secrets(installation: Installation) -> Finding:
    """Look which secrets are generated: they live in one file on one machine."""
    settings = installation.given
    signs = bool(settings.jwt_public_key or settings.jwt_jwks_url or settings.jwt_secret.get_secret_value())
    held = {
        "MKTX_JWT_SECRET": signs,
        "MKTX_ENCRYPTION_KEY": bool(settings.encryption_key.get_secret_value()),
        "MKTX_ADMIN_PASSWORD": bool(settings.admin_password.get_secret_value()),
    }
    generated = [name for name, is_set in held.items() if not is_set]
    if generated:
        return warning(
            f"generated into the data directory: {', '.join(generated)}",
            "set them from a secret store; without the encryption key the X tokens are lost",
        )
    jwt_secret = settings.jwt_secret.get_secret_value()
    if jwt_secret and len(jwt_secret.encode()) < _SHORTEST_SECRET_BYTES:
        return warning(
            "MKTX_JWT_SECRET is shorter than 32 bytes", "set a longer one; everybody has to log in again then"
        )
    return ok("all set")


async def listening(installation: Installation) -> Finding:
    """Look whether the gateway is open to a network without anything in front of it."""
    settings = installation.given
    if is_loopback(settings.host):
        return ok(f"loopback only, port {settings.port}")
    if not settings.public_url:
        return warning(
            f"open to the network at {settings.host}, without a public address",
            "bind MKTX_HOST to 127.0.0.1, or put a proxy with TLS in front and set MKTX_PUBLIC_URL",
        )
    return ok(f"{settings.host}, port {settings.port}")


async def database_address(installation: Installation) -> Finding:
    """Look whether the database is one for production."""
    if installation.given.mongodb_uri.get_secret_value():
        return ok("set")
    return warning(
        "not set: the embedded MongoDB is used, one node on this machine's disk",
        "set MKTX_MONGODB_URI to a replica set of three nodes",
    )


async def sending_limit(installation: Installation) -> Finding:
    """Look whether accounts would send more than X takes."""
    limit = installation.given.x_messages_per_day
    if limit > _X_MESSAGES_PER_DAY:
        return warning(
            f"{limit} messages a day and account, X takes {_X_MESSAGES_PER_DAY}",
            f"set MKTX_X_MESSAGES_PER_DAY to {_X_MESSAGES_PER_DAY}, unless X has given you more",
        )
    return ok(f"{limit} messages a day and account")


async def links(installation: Installation) -> Finding:
    """Look whether links that people give may lead into our own network."""
    if installation.given.fetch_private_addresses:
        return warning(
            "MKTX_FETCH_PRIVATE_ADDRESSES is on: links lead anywhere, this machine and its network included",
            "unset it; it is for tests and development only",
        )
    return ok("followed to public addresses only")


def is_loopback(host: str) -> bool:
    """Say whether an address is on this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


CHECKS = (
    Check("setting: X app", x_app),
    Check("setting: public URL", public_url),
    Check("setting: secrets", secrets),
    Check("setting: listening", listening),
    Check("setting: database", database_address),
    Check("setting: sending limit", sending_limit),
    Check("setting: links", links),
)
