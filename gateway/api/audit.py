from __future__ import annotations

from gateway.models.audit import AuditEntryAnswer, AuditQuery
from gateway.models.base import NoBody
from gateway.paths import API
from gateway.principal import ADMINS
from gateway.routing import AnyRoute, Call, Reply, Route
from storage.audit import AuditFilter


async def list_audit(call: Call[AuditQuery, NoBody]) -> Reply[AuditEntryAnswer]:
    """Return what was changed, newest first."""
    query = call.query
    wanted = AuditFilter(query.actor, query.action, query.since, query.until)
    documents, total = await call.deps.repositories.audit.page(call.merchant_id, wanted, query.part)
    return Reply([AuditEntryAnswer.model_validate(each) for each in documents], query, total)


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "GET",
        f"{API}/audit",
        list_audit,
        AuditQuery,
        NoBody,
        AuditEntryAnswer,
        summary="List who changed what",
        roles=ADMINS,
    ),
)
