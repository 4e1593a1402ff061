from __future__ import annotations

from pydantic import BaseModel

from domain.errors import InvalidContent, NotAllowed, NotFound, Problem
from domain.roles import check_may_manage, known_roles
from gateway.models.api_keys import ApiKeyAnswer, CreateApiKey, CreatedApiKey
from gateway.models.base import NoBody, NoQuery
from gateway.models.paging import Paging
from gateway.paths import API
from gateway.principal import ADMINS
from gateway.routing import AnyRoute, Call, Reply, Route, nothing
from storage.api_keys import SCHEME, ApiKeyDocument, FreshKey

_ONE = f"{API}/api-keys/{{apiKeyId}}"


async def create_api_key(call: Call[NoQuery, CreateApiKey]) -> Reply[CreatedApiKey]:
    """Make a key for a machine, and return it this once."""
    caller, body, now = call.principal, call.body, call.deps.clock.now()
    if caller.key_id is not None:
        # Else a key that got into wrong hands would live on in the keys that were made with it.
        raise NotAllowed("Keys are made by people")
    check_may_manage(caller.roles, frozenset(), frozenset(body.roles))
    if body.expires_at is not None and body.expires_at <= now:
        raise InvalidContent("The key would have expired", problems=(Problem("expiresAt", "must be in the future"),))
    fresh = FreshKey.make()
    key: ApiKeyDocument = {
        "_id": call.resource_id,
        "merchantId": call.merchant_id,
        "prefix": fresh.prefix,
        "secretHash": fresh.secret_hash,
        "name": body.name,
        "roles": [role.value for role in body.roles],
        "scopes": body.scopes,
        "createdBy": caller.user_id,
        "createdAt": now,
        "expiresAt": body.expires_at,
        "lastUsedAt": None,
        "revokedAt": None,
    }
    await call.deps.repositories.api_keys.put(key)
    return Reply(CreatedApiKey.model_validate({**_shown(key), "key": fresh.text}))


async def list_api_keys(call: Call[Paging, NoBody]) -> Reply[ApiKeyAnswer]:
    """Return the keys that are not revoked, newest first."""
    documents, total = await call.deps.repositories.api_keys.page(call.merchant_id, call.query.part)
    return Reply([ApiKeyAnswer.model_validate(_shown(each)) for each in documents], call.query, total)


async def revoke_api_key(call: Call[NoQuery, NoBody]) -> Reply[BaseModel]:
    """Revoke a key; it is refused from now on."""
    keys, key_id = call.deps.repositories.api_keys, call.path["apiKeyId"]
    key = await keys.get(call.merchant_id, key_id)
    if key is None:
        raise NotFound("API key not found")
    check_may_manage(call.principal.roles, known_roles(key["roles"]), frozenset())
    await keys.revoke(call.merchant_id, key_id, call.deps.clock.now())
    return nothing()


def _shown(key: ApiKeyDocument) -> dict[str, object]:
    return {**key, "prefix": SCHEME + key["prefix"]}


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "POST",
        f"{API}/api-keys",
        create_api_key,
        NoQuery,
        CreateApiKey,
        CreatedApiKey,
        summary="Create an API key",
        roles=ADMINS,
        idempotent=True,
        secret=True,
    ),
    Route("GET", f"{API}/api-keys", list_api_keys, Paging, NoBody, ApiKeyAnswer, summary="List API keys", roles=ADMINS),
    Route(
        "DELETE",
        _ONE,
        revoke_api_key,
        NoQuery,
        NoBody,
        BaseModel,
        summary="Revoke an API key",
        roles=ADMINS,
        errors=(NotFound,),
    ),
)
