from __future__ import annotations

from domain.errors import Conflict, NotFound
from gateway.api.flows import known_flow
from gateway.flow_actors import wake_executor
from gateway.flow_answers import execution_answer, execution_details
from gateway.models.base import NoBody, NoQuery
from gateway.models.flow_executions import ExecutionAnswer, ExecutionDetails, ExecutionQuery
from gateway.paths import API
from gateway.principal import ADMINS
from gateway.routing import AnyRoute, BodyT, Call, QueryT, Reply, Route
from storage.flow_documents import ExecutionDocument

_ALL = f"{API}/automation/flows/{{flowId}}/executions"
_ONE = f"{_ALL}/{{executionId}}"


async def list_flow_executions(call: Call[ExecutionQuery, NoBody]) -> Reply[ExecutionAnswer]:
    """Return the executions of a flow that match, newest first."""
    query, flow_id = call.query, (await known_flow(call))["_id"]
    executions, total = await call.deps.repositories.flow_execution_reports.page(
        call.merchant_id, flow_id, query.status, query.contact_id, query.part
    )
    return Reply([execution_answer(each) for each in executions], query, total)


async def get_flow_execution(call: Call[NoQuery, NoBody]) -> Reply[ExecutionDetails]:
    """Return one execution of a flow."""
    return Reply(execution_details(await _known(call)))


async def retry_flow_execution(call: Call[NoQuery, NoBody]) -> Reply[ExecutionDetails]:
    """Let an execution that has failed go on from the node at which it did."""
    execution = await _known(call)
    if execution["status"] != "failed":
        raise Conflict(f"An execution that is {execution['status']} can't be retried")
    await call.deps.repositories.flow_orders.retry(execution, call.deps.clock.now())
    await wake_executor(call.deps, execution["contactId"])
    return Reply(execution_details(await _known(call)))


async def cancel_flow_execution(call: Call[NoQuery, NoBody]) -> Reply[ExecutionDetails]:
    """End an execution that is under way."""
    execution = await _known(call)
    if execution["status"] != "running":
        raise Conflict(f"An execution that is {execution['status']} can't be cancelled")
    await call.deps.repositories.flow_orders.cancel(execution, call.deps.clock.now())
    await wake_executor(call.deps, execution["contactId"])
    return Reply(execution_details(await _known(call)))


async def _known(call: Call[QueryT, BodyT]) -> ExecutionDocument:
    reports = call.deps.repositories.flow_execution_reports
    known = await reports.get(call.merchant_id, call.path["flowId"], call.path["executionId"])
    if known is None:
        raise NotFound("Execution not found")
    return known


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "GET",
        _ALL,
        list_flow_executions,
        ExecutionQuery,
        NoBody,
        ExecutionAnswer,
        summary="List a flow's executions",
        errors=(NotFound,),
    ),
    Route(
        "GET",
        _ONE,
        get_flow_execution,
        NoQuery,
        NoBody,
        ExecutionDetails,
        summary="Get an execution",
        errors=(NotFound,),
    ),
    Route(
        "POST",
        f"{_ONE}/retry",
        retry_flow_execution,
        NoQuery,
        NoBody,
        ExecutionDetails,
        summary="Retry an execution that has failed",
        roles=ADMINS,
        errors=(NotFound, Conflict),
        idempotent=True,
    ),
    Route(
        "POST",
        f"{_ONE}/cancel",
        cancel_flow_execution,
        NoQuery,
        NoBody,
        ExecutionDetails,
        summary="Cancel an execution",
        roles=ADMINS,
        errors=(NotFound, Conflict),
        idempotent=True,
    ),
)
