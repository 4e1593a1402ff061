"""The figures of analytics, from what the API and the transactions of others have written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from domain.active_days import pairs_of
from domain.ids import new_id
from domain.rollup import Tally
from storage.client import session_of
from storage.recount import Difference, recount
from storage.rollups import add_in
from tests.gateway.campaigns import campaign, counted
from tests.gateway.conftest import Api

PATHS = ("overview", "contacts", "conversations", "campaigns", "automation")
DAY = "startDate=2026-01-18&endDate=2026-01-18"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def write(api: Api, tally: Tally, part: str = "test") -> None:
    async with session_of(api.database.client) as session, await session.start_transaction():
        await add_in(api.database, session, tally, part)


def sent(api: Api, account_id: str, moment: str, source: str = "agent", **fields: object) -> dict[str, Any]:
    named = {"merchantId": api.merchant_id, "accountId": account_id, "at": at(moment)}
    return named | {"direction": "outbound", "status": "sent", "source": source} | fields


def received(api: Api, account_id: str, moment: str) -> dict[str, Any]:
    return sent(api, account_id, moment, "customer", direction="inbound", status="received")


async def figures(api: Api, path: str, query: str = DAY) -> dict[str, Any]:
    status, answer = await api.get(f"/analytics/{path}?{query}")
    assert status == 200, answer
    data: dict[str, Any] = answer["data"]
    return data


async def test_the_overview_has_the_shape_of_the_api_document(api: Api) -> None:
    data = await figures(api, "overview", "startDate=2026-01-01&endDate=2026-01-18")
    assert data == {
        "period": {"startDate": "2026-01-01T00:00:00Z", "endDate": "2026-01-18T23:59:59Z"},
        "contacts": {"total": 0, "new": 0, "active": 0},
        "conversations": {"total": 0, "open": 0, "closed": 0, "averageResponseTime": None},
        "campaigns": {"active": 0, "completed": 0, "totalMessagesSent": 0},
        "automation": {"activeFlows": 0, "totalExecutions": 0},
        "timeline": [],
        "previous": None,
        "change": None,
    }


async def test_what_is_done_through_the_api_is_counted(api: Api) -> None:
    account_id = await api.account()
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    body = {"accountId": account_id, "twitterUserId": str(uuid4().int)[:15]}
    assert (await api.post("/contacts", body))[0] == 200
    contact_id = await api.contact(account_id, createdAt=datetime.now(UTC))
    conversation_id = await api.conversation(account_id, contact_id)
    tally = Tally()
    tally.conversation(
        {"merchantId": api.merchant_id, "accountId": account_id, "startedAt": at("2026-01-18T10:00"), "closedAt": None}
    )
    await write(api, tally)
    before = await figures(api, "overview", f"startDate={today}&endDate={today}")
    assert before["contacts"] == {"total": 1, "new": 1, "active": 0}
    assert before["conversations"] == {"total": 1, "open": 1, "closed": 0, "averageResponseTime": None}
    assert (await api.put(f"/conversations/{conversation_id}/close", {"reason": "resolved"}))[0] == 200
    assert (await api.put(f"/conversations/{conversation_id}/close", {"reason": "again"}))[0] == 200
    after = await figures(api, "conversations", f"startDate={today}&endDate={today}&accountId={account_id}")
    assert (after["total"], after["open"], after["closed"], after["new"]) == (1, 0, 1, 0)


async def test_messages_and_response_times(api: Api) -> None:
    account_id, other_account = await api.account(), await api.account()
    tally = Tally()
    tally.message(received(api, account_id, "2026-01-18T10:00"))
    tally.message(received(api, other_account, "2026-01-17T23:59:59"))
    for seconds in (60, 120, 810):
        tally.message(sent(api, account_id, "2026-01-18T10:30", answeredAfterS=seconds))
    tally.message(sent(api, account_id, "2026-01-18T11:00", "bot"))
    tally.message(sent(api, account_id, "2026-01-18T11:00", "test"))
    tally.message(sent(api, account_id, "2026-01-18T11:00", status="failed"))
    tally.message(sent(api, other_account, "2026-01-18T11:00", "campaign"))
    await write(api, tally)
    data = await figures(api, "conversations")
    assert data["messages"] == {"received": 1, "sent": 5, "sentBySource": {"agent": 3, "bot": 1, "campaign": 1}}
    assert (data["averageResponseTime"], data["responses"]) == ("5m 30s", 3)
    assert data["medianResponseSeconds"] == pytest.approx(120, rel=0.05)
    assert data["p90ResponseSeconds"] == pytest.approx(810, rel=0.05)
    of_account = await figures(api, "conversations", f"{DAY}&accountId={account_id}")
    assert of_account["messages"]["sentBySource"] == {"agent": 3, "bot": 1}
    overview = await figures(api, "overview")
    assert overview["conversations"]["averageResponseTime"] == "5m 30s"
    assert overview["campaigns"]["totalMessagesSent"] == 1


async def test_a_time_zone_moves_the_edges_of_days(api: Api) -> None:
    account_id = await api.account()
    tally = Tally()
    for moment in ("2026-01-17T16:59", "2026-01-17T17:00", "2026-01-18T16:59", "2026-01-18T17:00"):
        tally.message(received(api, account_id, moment))
    await write(api, tally, "one")
    await write(api, tally, "two")
    data = await figures(api, "conversations", f"{DAY}&timezone=Asia/Ho_Chi_Minh")
    assert data["period"] == {"startDate": "2026-01-17T17:00:00Z", "endDate": "2026-01-18T16:59:59Z"}
    assert data["messages"]["received"] == 4
    query = "startDate=2026-01-17&endDate=2026-01-19&timezone=Asia/Ho_Chi_Minh&groupBy=day"
    timeline = (await figures(api, "conversations", query))["timeline"]
    assert [each["messages"]["received"] for each in timeline] == [2, 4, 2]
    assert [each["period"]["startDate"] for each in timeline] == [
        "2026-01-16T17:00:00Z",
        "2026-01-17T17:00:00Z",
        "2026-01-18T17:00:00Z",
    ]


async def test_moments_count_the_hours_that_they_touch(api: Api) -> None:
    account_id = await api.account()
    tally = Tally()
    for moment in ("2026-01-18T09:59", "2026-01-18T10:00", "2026-01-18T12:59", "2026-01-18T13:00"):
        tally.message(received(api, account_id, moment))
    await write(api, tally)
    query = "startDate=2026-01-18T10:30:00Z&endDate=2026-01-18T12:30:00Z&compare=previous"
    data = await figures(api, "conversations", query)
    assert data["period"] == {"startDate": "2026-01-18T10:30:00Z", "endDate": "2026-01-18T12:30:00Z"}
    assert data["messages"]["received"] == 2
    # Where one period ends the next begins: no hour is in both.
    assert data["previous"]["messages"]["received"] == 1


@pytest.mark.parametrize(
    ("by", "starts"),
    [
        ("day", ["2026-01-30", "2026-01-31", "2026-02-01", "2026-02-02", "2026-02-03"]),
        ("week", ["2026-01-30", "2026-02-02"]),
        ("month", ["2026-01-30", "2026-02-01"]),
    ],
)
async def test_parts_of_a_period_follow_one_another(api: Api, by: str, starts: list[str]) -> None:
    account_id = await api.account()
    tally = Tally()
    contact = {"merchantId": api.merchant_id, "accountId": account_id}
    for number in range(5):
        tally.contact(contact | {"createdAt": at("2026-01-30T05:00") + timedelta(days=number)})
    tally.active(contact, pairs_of(["2026-01-29", "2026-01-30", "2026-02-03"]))
    await write(api, tally)
    data = await figures(api, "contacts", f"startDate=2026-01-30&endDate=2026-02-03&groupBy={by}")
    timeline = data["timeline"]
    assert [each["period"]["startDate"][:10] for each in timeline] == starts
    assert sum(each["new"] for each in timeline) == data["new"] == 5
    assert [each["total"] for each in timeline][-1] == data["total"] == 5
    assert data["active"] == 1
    assert timeline[0]["active"] == timeline[-1]["active"] == 1


async def test_the_period_before_is_compared(api: Api) -> None:
    account_id = await api.account()
    contact = {"merchantId": api.merchant_id, "accountId": account_id}
    tally = Tally()
    for moment in ("2026-01-16T05:00", "2026-01-17T05:00", "2026-01-18T05:00", "2026-01-18T06:00", "2026-01-18T07:00"):
        tally.contact(contact | {"createdAt": at(moment)})
    await write(api, tally)
    data = await figures(api, "overview", f"{DAY}&compare=previous")
    assert data["previous"]["period"] == {"startDate": "2026-01-17T00:00:00Z", "endDate": "2026-01-17T23:59:59Z"}
    assert data["contacts"] == {"total": 5, "new": 3, "active": 0}
    assert data["previous"]["contacts"] == {"total": 2, "new": 1, "active": 0}
    assert data["change"]["contacts"] == {"total": 1.5, "new": 2.0, "active": None}
    assert set(data["change"]) == {"contacts", "conversations", "campaigns", "automation"}


async def test_campaigns_are_counted_by_their_states_and_hours(api: Api) -> None:
    common = {"merchantId": api.merchant_id, "accountId": None, "name": "January", "startedAt": at("2026-01-18T09:00")}
    running, done, late = new_id(), new_id(), new_id()
    await api.database["campaigns"].insert_many(
        [
            {**common, "_id": running, "status": "running", "completedAt": None},
            {**common, "_id": done, "status": "completed", "completedAt": at("2026-01-18T12:00")},
            {**common, "_id": late, "status": "completed", "completedAt": at("2026-01-19T12:00")},
            {**common, "_id": new_id(), "status": "cancelled", "completedAt": None},
            {**common, "_id": new_id(), "status": "draft", "startedAt": None, "completedAt": None},
        ]
    )
    counted = {"merchantId": api.merchant_id, "runId": "r", "variant": "main"}
    await api.database["campaignCounts"].insert_many(
        [
            {
                **counted,
                "_id": new_id(),
                "campaignId": running,
                "hour": "2026-01-18T10",
                "sent": 4,
                "delivered": 3,
                "failed": 1,
            },
            {**counted, "_id": new_id(), "campaignId": running, "hour": "2026-01-18T11", "opened": 2},
            {**counted, "_id": new_id(), "campaignId": done, "hour": "2026-01-18T11", "sent": 10, "delivered": 10},
            {**counted, "_id": new_id(), "campaignId": done, "hour": "2026-01-19T00", "sent": 99, "delivered": 99},
        ]
    )
    data = await figures(api, "campaigns", f"{DAY}&groupBy=day")
    # The one that was completed a day later was under way at the end of this one.
    assert (data["active"], data["completed"], data["totalSent"], data["delivered"]) == (2, 1, 14, 13)
    assert (data["deliveryRate"], data["openRate"]) == (0.93, 0.15)
    assert [(each["campaignId"], each["totalSent"]) for each in data["campaigns"]] == [(done, 10), (running, 4)]
    assert len(data["timeline"]) == 1
    one = await figures(api, "campaigns", f"{DAY}&campaignId={running}")
    assert (one["active"], one["completed"], one["totalMessagesSent"], one["openRate"]) == (1, 0, 3, 0.67)
    overview = await figures(api, "overview")
    assert (overview["campaigns"]["active"], overview["campaigns"]["completed"]) == (2, 1)


async def ran(api: Api, started: str, completed: str | None, **counts: int) -> dict[str, Any]:
    """Return a campaign that was started, with what was counted of it an hour after that; over where it has an end."""
    made = await campaign(api)
    fields = {"startedAt": at(started), "completedAt": None if completed is None else at(completed)}
    fields["status"] = "cancelled" if completed is None else "completed"
    await api.database["campaigns"].update_one({"_id": made["id"]}, {"$set": fields})
    await counted(api, made["id"], hour="2026-01-18T10", **counts)
    return made


async def deleted(api: Api, campaign_id: str) -> None:
    assert (await api.delete(f"/campaigns/{campaign_id}"))[0] == 200


async def test_a_campaign_that_is_deleted_stays_in_the_figures(api: Api) -> None:
    await ran(api, "2026-01-18T09:00", "2026-01-18T12:00", sent=4, delivered=3, failed=1, replied=1)
    gone = await ran(api, "2026-01-18T09:00", "2026-01-18T12:00", sent=10, delivered=9, failed=1, opened=3)
    tally = Tally()
    account_id = await api.account()
    for _ in range(12):
        tally.message(sent(api, account_id, "2026-01-18T10:30", "campaign"))
    await write(api, tally)
    queries = (DAY, f"{DAY}&groupBy=day&compare=previous", f"{DAY}&campaignId={gone['id']}")
    before = [await figures(api, "campaigns", query) for query in queries]
    overview = await figures(api, "overview")
    assert (before[0]["totalSent"], before[0]["delivered"], before[0]["totalMessagesSent"]) == (14, 12, 12)
    assert [each["deleted"] for each in before[0]["campaigns"]] == [False, False]

    await api.database["campaigns"].update_one({"_id": gone["id"]}, {"$set": {"name": "Sale"}})
    await deleted(api, gone["id"])

    for query, known in zip(queries, before, strict=True):
        after = await figures(api, "campaigns", query)
        listed = {each["campaignId"]: each for each in after.pop("campaigns")}
        expected = {each["campaignId"]: each for each in known.pop("campaigns")}
        expected[gone["id"]] |= {"name": "Sale", "deleted": True}
        assert after == known
        assert listed == expected
        assert listed[gone["id"]]["status"] == "completed"
    assert await figures(api, "overview") == overview


async def test_what_comes_after_the_deletion_counts_too(api: Api) -> None:
    """Somebody reads the message, or answers, when the campaign is gone."""
    gone = await ran(api, "2026-01-18T09:00", None, sent=1, delivered=1)
    await deleted(api, gone["id"])
    await counted(api, gone["id"], hour="2026-01-18T20", replied=1)
    data = await figures(api, "campaigns")
    assert (data["replied"], data["replyRate"], data["active"], data["completed"]) == (1, 1.0, 0, 0)
    assert [(each["campaignId"], each["replied"], each["status"]) for each in data["campaigns"]] == [
        (gone["id"], 1, "cancelled")
    ]


async def test_a_deleted_campaign_is_its_accounts_and_its_merchants_alone(api: Api) -> None:
    account_id, other_account = await api.account(), await api.account()
    gone = await ran(api, "2026-01-18T09:00", "2026-01-18T12:00", sent=2, delivered=2)
    await api.database["campaigns"].update_one({"_id": gone["id"]}, {"$set": {"accountId": account_id}})
    await deleted(api, gone["id"])
    assert (await figures(api, "campaigns", f"{DAY}&accountId={account_id}"))["totalSent"] == 2
    assert (await figures(api, "campaigns", f"{DAY}&accountId={other_account}"))["totalSent"] == 0
    stranger = api.other_merchant()
    assert (await figures(stranger, "campaigns"))["campaigns"] == []
    status, answer = await stranger.get(f"/analytics/campaigns?{DAY}&campaignId={gone['id']}")
    assert (status, answer["code"]) == (404, "RESOURCE_NOT_FOUND")


async def test_a_draft_that_is_deleted_leaves_nothing(api: Api) -> None:
    draft = await campaign(api)
    await deleted(api, draft["id"])
    assert await api.database["deletedCampaigns"].count_documents({"_id": draft["id"]}) == 0
    status, _ = await api.get(f"/analytics/campaigns?{DAY}&campaignId={draft['id']}")
    assert status == 404


async def test_a_campaign_that_is_deleted_while_it_is_read_counts_once(api: Api) -> None:
    """Those that there are are read before those that are gone: it may be found among both, never among none."""
    gone = await ran(api, "2026-01-18T09:00", "2026-01-18T12:00", sent=2, delivered=2)
    document = await api.database["campaigns"].find_one({"_id": gone["id"]})
    assert document is not None
    await deleted(api, gone["id"])
    await api.database["campaigns"].insert_one(document)
    data = await figures(api, "campaigns")
    assert (data["completed"], data["totalSent"]) == (1, 2)
    assert [each["deleted"] for each in data["campaigns"]] == [True]


async def test_a_recount_agrees_when_a_campaign_is_deleted(api: Api) -> None:
    """Its messages are there as before, and so is what was counted of them."""
    account_id, now = await api.account(), datetime.now(UTC)
    conversation_id = await api.conversation(account_id, await api.contact(account_id))
    gone = await ran(api, "2026-01-18T09:00", "2026-01-18T12:00", sent=1, delivered=1)
    message = sent(api, account_id, "2026-01-18T10:30", "campaign", conversationId=conversation_id, createdAt=now)
    await api.database["messages"].insert_one({**message, "_id": new_id(), "twitterMessageId": new_id()})
    tally = Tally()
    tally.message(message)
    await write(api, tally)

    async def differs() -> list[Difference]:
        found = await recount(api.database.client, api.database)
        own = [each for each in found.differences if each.place.merchant_id == api.merchant_id]
        return [each for each in own if "campaign" in each.path]

    assert await differs() == []
    await deleted(api, gone["id"])
    assert await differs() == []
    data = await figures(api, "campaigns")
    assert data["totalMessagesSent"] == data["delivered"] == 1


async def test_executions_are_counted_by_flow(api: Api) -> None:
    account_id, flow_id, gone = await api.account(), new_id(), new_id()
    flow = {
        "_id": flow_id,
        "merchantId": api.merchant_id,
        "accountId": None,
        "name": "Welcome Flow",
        "status": "active",
    }
    await api.database["flows"].insert_one(flow)
    common = {"merchantId": api.merchant_id, "accountId": account_id, "startedAt": at("2026-01-18T09:00")}
    tally = Tally()
    running = {**common, "flowId": flow_id, "status": "running", "completedAt": None}
    tally.execution(running)
    tally.execution({**running, "status": "completed", "completedAt": at("2026-01-18T12:00")})
    tally.execution({**running, "status": "failed", "completedAt": at("2026-01-19T12:00")})
    tally.execution({**running, "flowId": gone})
    await write(api, tally)
    data = await figures(api, "automation")
    assert (data["activeFlows"], data["totalExecutions"], data["completed"], data["failed"]) == (1, 4, 1, 0)
    shown = {"flowId": flow_id, "name": "Welcome Flow", "status": "active", "totalExecutions": 3}
    assert data["flows"][0] == shown | {"completed": 1, "failed": 0, "cancelled": 0}
    assert (data["flows"][1]["flowId"], data["flows"][1]["name"]) == (gone, None)
    one = await figures(api, "automation", f"{DAY}&flowId={flow_id}&groupBy=day&compare=previous")
    assert (one["totalExecutions"], one["timeline"][0]["completed"]) == (3, 1)
    assert [each["flowId"] for each in one["flows"]] == [flow_id]
    of_account = await figures(api, "automation", f"{DAY}&accountId={account_id}")
    assert (of_account["totalExecutions"], of_account["flows"]) == (4, [])


async def test_nobody_sees_the_figures_of_others(api: Api) -> None:
    account_id = await api.account()
    tally = Tally()
    tally.message(received(api, account_id, "2026-01-18T10:00"))
    await write(api, tally)
    assert (await figures(api.other_merchant(), "conversations"))["messages"]["received"] == 0


@pytest.mark.parametrize("path", PATHS)
async def test_an_account_of_another_merchant_is_as_unknown_as_any(api: Api, path: str) -> None:
    foreign = await api.account()
    stranger = api.other_merchant()
    for account_id in (foreign, new_id()):
        status, answer = await stranger.get(f"/analytics/{path}?{DAY}&accountId={account_id}")
        assert (status, answer["code"]) == (404, "RESOURCE_NOT_FOUND")


@pytest.mark.parametrize("query", [f"campaigns?{DAY}&campaignId=", f"automation?{DAY}&flowId="])
async def test_a_campaign_or_flow_that_is_not_there_is_not_found(api: Api, query: str) -> None:
    status, answer = await api.get(f"/analytics/{query}{new_id()}")
    assert (status, answer["code"]) == (404, "RESOURCE_NOT_FOUND")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("startDate=2026-01-18&endDate=2026-01-17", "endDate"),
        ("startDate=2026-01-18T10:00:00Z&endDate=2026-01-18T10:00:00Z", "endDate"),
        ("startDate=2020-01-01&endDate=2026-01-17", "endDate"),
        ("startDate=yesterday&endDate=2026-01-17", "startDate"),
        ("startDate=2026-02-30&endDate=2026-03-17", "startDate"),
        ("startDate=0001-01-01&endDate=0001-01-02&timezone=Asia/Tokyo", "startDate"),
        ("startDate=2026-01-18&endDate=2026-01-18T10:00:00", "endDate"),
        (f"{DAY}&groupBy=hour", "groupBy"),
        (f"{DAY}&timezone=Mars/Olympus", "timezone"),
        (f"{DAY}&compare=year", "compare"),
        (f"{DAY}&format=xml", "format"),
        (f"{DAY}&merchantId=m", "merchantId"),
    ],
)
async def test_a_wrong_query_is_refused(api: Api, path: str, query: str, field: str) -> None:
    status, answer = await api.get(f"/analytics/{path}?{query}")
    assert (status, answer["code"], answer["details"]["field"]) == (400, "VALIDATION_ERROR", field)


async def test_a_flow_is_not_counted_by_account(api: Api) -> None:
    status, answer = await api.get(f"/analytics/automation?{DAY}&flowId=f&accountId={await api.account()}")
    assert (status, answer["details"]["field"]) == (400, "accountId")


@pytest.mark.parametrize("missing", ["startDate", "endDate"])
async def test_the_overview_needs_both_dates(api: Api, missing: str) -> None:
    query = "&".join(each for each in DAY.split("&") if not each.startswith(missing))
    status, answer = await api.get(f"/analytics/overview?{query}")
    assert (status, answer["details"]["field"]) == (400, missing)


@pytest.mark.parametrize("path", PATHS[1:])
async def test_the_others_are_of_the_last_thirty_days_without_dates(api: Api, path: str) -> None:
    data = await figures(api, path, "")
    start, end = (datetime.fromisoformat(data["period"][name]) for name in ("startDate", "endDate"))
    assert end + timedelta(seconds=1) - start == timedelta(days=30)
    assert start <= datetime.now(UTC) <= end + timedelta(days=1)


@pytest.mark.parametrize("path", PATHS)
async def test_each_is_answered_as_csv(api: Api, path: str) -> None:
    query = f"/analytics/{path}?startDate=2026-01-17&endDate=2026-01-18&groupBy=day"
    response = await api.answer("GET", f"{query}&format=csv")
    assert (response.status, response.content_type) == (200, "text/csv")
    header, *lines = (await response.text()).strip().split("\r\n")
    assert header.split(",")[:2] == ["startDate", "endDate"]
    assert [line.split(",")[0] for line in lines] == ["2026-01-17T00:00:00Z", "2026-01-18T00:00:00Z"]
    asked = await api.answer("GET", query, headers={"Accept": "text/csv"})
    assert await asked.text() == await response.text()
    whole = await api.answer("GET", f"/analytics/{path}?{DAY}&format=csv&compare=previous")
    assert [line.split(",")[0][:10] for line in (await whole.text()).strip().split("\r\n")[1:]] == [
        "2026-01-17",
        "2026-01-18",
    ]
