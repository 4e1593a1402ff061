from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from domain.errors import Conflict, InvalidContent, NotFound, Problem
from domain.flow_triggers import ReEntry, may_enter
from gateway.flow_actors import cancel_running, flow_changed, wake_executor
from gateway.flow_answers import execution_details, flow_details
from gateway.flow_fields import check_flow, fields_of_changed, fields_of_new, problems_beside_schema
from gateway.flow_trial import try_flow
from gateway.models.base import NoBody, NoQuery
from gateway.models.flow_executions import ExecutionDetails
from gateway.models.flow_simulations import SimulateFlow, SimulationAnswer
from gateway.models.flows import (
    ChangedFlow,
    ChangeFlow,
    CreateFlow,
    DeactivatedFlow,
    DeactivateFlow,
    FlowAnswer,
    FlowDetails,
    FlowQuery,
    ListedFlow,
    TriggerFlow,
)
from gateway.paths import API
from gateway.principal import ADMINS
from gateway.routing import AnyRoute, BodyT, Call, QueryT, Reply, Route, nothing
from storage.contacts import ContactDocument
from storage.flow_documents import FlowDocument, FlowEventDocument
from storage.flow_orders import started_by_hand
from storage.flows import FlowFilter

_ALL = f"{API}/automation/flows"
_ONE = f"{_ALL}/{{flowId}}"
_NOT_AGAIN = "The contact was in this flow, and may not go into it again ({})"


async def create_flow(call: Call[NoQuery, CreateFlow]) -> Reply[FlowAnswer]:
    """Create a flow, a draft until it is activated."""
    fields = await fields_of_new(call.deps, call.merchant_id, call.body)
    flows, now = call.deps.repositories.flows, call.deps.clock.now()
    return Reply(_shown(await flows.add(call.merchant_id, call.resource_id, fields, now)))


async def list_flows(call: Call[FlowQuery, NoBody]) -> Reply[ListedFlow]:
    """Return the flows that match, newest first."""
    query = call.query
    wanted = FlowFilter(query.status, query.search.strip())
    documents, total = await call.deps.repositories.flows.page(call.merchant_id, wanted, query.part)
    return Reply([_listed(each) for each in documents], query, total)


async def get_flow(call: Call[NoQuery, NoBody]) -> Reply[FlowDetails]:
    """Return one flow with what became of its executions, altogether and node by node."""
    return Reply(await flow_details(call.deps.repositories, await known_flow(call)))


async def change_flow(call: Call[NoQuery, ChangeFlow]) -> Reply[ChangedFlow]:
    """Change a flow that is not active; executions that are under way go on with the version they began with."""
    repositories, known = call.deps.repositories, await known_flow(call)
    repositories.flows.check_inactive(known, "update")
    fields = await fields_of_changed(call.deps, known, call.body)
    flow = await repositories.flows.change(known, fields, call.deps.clock.now())
    running = await repositories.flow_execution_reports.running(
        call.merchant_id, flow["_id"], before_version=flow["version"]
    )
    return Reply(ChangedFlow.model_validate({**flow, "runningOldVersions": running}))


async def delete_flow(call: Call[NoQuery, NoBody]) -> Reply[BaseModel]:
    """Delete a flow that is not active, with its executions; what was counted of it stays."""
    flows, known = call.deps.repositories.flows, await known_flow(call)
    await flows.remove(known)
    await flow_changed(call.deps, known["_id"])
    call.deps.background.start("remove_executions", flows.remove_executions(call.merchant_id, known["_id"]))
    return nothing()


async def activate_flow(call: Call[NoQuery, NoBody]) -> Reply[FlowAnswer]:
    """Activate a flow: from now on what its trigger names starts it."""
    flow = await known_flow(call)
    if flow["status"] != "active":
        await check_flow(call.deps, call.merchant_id, flow)
        flow = await call.deps.repositories.flows.activate(flow, call.deps.clock.now())
    await flow_changed(call.deps, flow["_id"])
    return Reply(_shown(flow))


async def deactivate_flow(call: Call[NoQuery, DeactivateFlow]) -> Reply[DeactivatedFlow]:
    """Deactivate a flow: nothing starts it any more; its executions are finished, or cancelled."""
    repositories, flow = call.deps.repositories, await known_flow(call)
    if flow["status"] == "active":
        flow = await repositories.flows.deactivate(flow, call.deps.clock.now())
    running = await repositories.flow_execution_reports.running(call.merchant_id, flow["_id"])
    await flow_changed(call.deps, flow["_id"])
    if call.body.running_executions == "cancel":
        await cancel_running(call.deps, flow["_id"])
    return Reply(DeactivatedFlow.model_validate({**flow, "runningExecutions": running}))


async def trigger_flow(call: Call[NoQuery, TriggerFlow]) -> Reply[ExecutionDetails]:
    """Start an active flow for one contact, whatever its trigger is."""
    repositories, flow = call.deps.repositories, await known_flow(call)
    orders, reports = repositories.flow_orders, repositories.flow_execution_reports
    contact = await _enterer(call, flow)
    start = started_by_hand(flow, contact, call.resource_id, call.body.variables, call.deps.clock.now())
    execution_id = start["executionId"]
    # It is there already where a request is repeated whose answer was lost.
    if await reports.get(call.merchant_id, flow["_id"], execution_id) is None:
        await _check_entry(call, flow)
        await orders.start(start)
        await wake_executor(call.deps, contact["_id"])
    # Asked in this order: what is not waiting any more has been written before.
    is_waiting = await orders.is_waiting(start)
    execution = await reports.get(call.merchant_id, flow["_id"], execution_id)
    if execution is not None:
        return Reply(execution_details(execution))
    if not is_waiting:
        raise Conflict(_NOT_AGAIN.format(flow["reEntry"]))
    return Reply(_yet_to_begin(start))


async def simulate_flow(call: Call[NoQuery, SimulateFlow]) -> Reply[SimulationAnswer]:
    """Run a flow on a virtual clock: nothing is sent, and nothing is changed."""
    return Reply(await try_flow(call.deps, await known_flow(call), call.body, call.resource_id))


async def known_flow(call: Call[QueryT, BodyT]) -> FlowDocument:
    """Return the flow that a request's path names.

    Raises:
        NotFound: when the merchant has no such flow.
    """
    known = await call.deps.repositories.flows.get(call.merchant_id, call.path["flowId"])
    if known is None:
        raise NotFound("Flow not found")
    return known


async def _problems_of_new(call: Call[NoQuery, NoBody], given: object) -> Sequence[Problem]:
    return await problems_beside_schema(call.deps, call.merchant_id, given)


async def _problems_of_changed(call: Call[NoQuery, NoBody], given: object) -> Sequence[Problem]:
    return await problems_beside_schema(call.deps, call.merchant_id, given, await known_flow(call))


async def _enterer(call: Call[NoQuery, TriggerFlow], flow: FlowDocument) -> ContactDocument:
    contact = await call.deps.repositories.contacts.get(call.merchant_id, call.body.contact_id)
    if contact is None:
        raise InvalidContent("There is no such contact", problems=(Problem("contactId", "is no contact of yours"),))
    if flow["accountId"] not in {None, contact["accountId"]}:
        problem = Problem("contactId", "is no contact of the flow's account")
        raise InvalidContent("The contact is another account's", problems=(problem,))
    return contact


async def _check_entry(call: Call[NoQuery, TriggerFlow], flow: FlowDocument) -> None:
    if flow["status"] != "active":
        raise Conflict(f"A flow that is {flow['status']} can't be started (activate first)")
    earlier = await call.deps.repositories.flow_execution_reports.statuses_of(
        call.merchant_id, flow["_id"], call.body.contact_id
    )
    if not may_enter(ReEntry(flow["reEntry"]), earlier):
        raise Conflict(_NOT_AGAIN.format(flow["reEntry"]))


def _yet_to_begin(start: FlowEventDocument) -> ExecutionDetails:
    return ExecutionDetails.model_validate(
        {
            **start,
            "_id": start["executionId"],
            "status": "running",
            "currentNodeId": None,
            "startedAt": start["at"],
            "completedAt": None,
            "updatedAt": start["at"],
            "failure": None,
            "history": [],
        }
    )


def _shown(flow: FlowDocument) -> FlowAnswer:
    return FlowAnswer.model_validate(flow)


def _listed(flow: FlowDocument) -> ListedFlow:
    return ListedFlow.model_validate({**flow, "nodeCount": len(flow["nodes"])})


ROUTES: tuple[AnyRoute, ...] = (
    Route(
        "POST",
        _ALL,
        create_flow,
        NoQuery,
        CreateFlow,
        FlowAnswer,
        summary="Create a flow",
        roles=ADMINS,
        idempotent=True,
        further_problems=_problems_of_new,
    ),
    Route("GET", _ALL, list_flows, FlowQuery, NoBody, ListedFlow, summary="List flows"),
    Route("GET", _ONE, get_flow, NoQuery, NoBody, FlowDetails, summary="Get a flow", errors=(NotFound,)),
    Route(
        "PUT",
        _ONE,
        change_flow,
        NoQuery,
        ChangeFlow,
        ChangedFlow,
        summary="Change a flow",
        roles=ADMINS,
        errors=(NotFound, Conflict),
        further_problems=_problems_of_changed,
    ),
    Route(
        "DELETE",
        _ONE,
        delete_flow,
        NoQuery,
        NoBody,
        BaseModel,
        summary="Delete a flow",
        roles=ADMINS,
        errors=(NotFound, Conflict),
    ),
    Route(
        "POST",
        f"{_ONE}/activate",
        activate_flow,
        NoQuery,
        NoBody,
        FlowAnswer,
        summary="Activate a flow",
        roles=ADMINS,
        errors=(NotFound, Conflict),
        idempotent=True,
    ),
    Route(
        "POST",
        f"{_ONE}/trigger",
        trigger_flow,
        NoQuery,
        TriggerFlow,
        ExecutionDetails,
        summary="Start a flow for a contact",
        roles=ADMINS,
        errors=(NotFound, Conflict),
        idempotent=True,
    ),
    Route(
        "POST",
        f"{_ONE}/simulate",
        simulate_flow,
        NoQuery,
        SimulateFlow,
        SimulationAnswer,
        summary="Simulate a flow",
        errors=(NotFound,),
        body_optional=True,
        changes=False,
    ),
    Route(
        "POST",
        f"{_ONE}/deactivate",
        deactivate_flow,
        NoQuery,
        DeactivateFlow,
        DeactivatedFlow,
        summary="Deactivate a flow",
        roles=ADMINS,
        errors=(NotFound, Conflict),
        body_optional=True,
        idempotent=True,
    ),
)
