from __future__ import annotations

import csv
import io

import aiohttp
import pytest
from pymongo.errors import AutoReconnect

from domain.ids import new_id
from gateway.recipient_sheet import COLUMNS
from storage.campaign_documents import RecipientDocument
from storage.campaign_reports import CampaignReports
from tests.gateway.campaigns import campaign, counted, recipient, run, template
from tests.gateway.conftest import NOW, Api, later

TEN, ELEVEN, NEXT_DAY = "2026-01-20T10", "2026-01-20T11", "2026-01-21T09"


# --- metrics


async def test_metrics_are_the_sums_of_all_counters_with_rates(api: Api) -> None:
    known, other = await campaign(api), await campaign(api)
    await counted(api, known["id"], sent=1000, delivered=970, failed=30, opened=500, clicked=200, replied=40)
    await counted(api, known["id"], sent=500, delivered=480, failed=20, opened=300, clicked=50, replied=5)
    await counted(api, known["id"], skipped=7, optedOut=3, blocked=2)
    await counted(api, other["id"], sent=9, delivered=9, skipped=9)
    status, answer = await api.get(f"/campaigns/{known['id']}/metrics")
    assert status == 200
    # The numbers of the API document's example.
    assert answer["data"] == {
        "totalSent": 1500,
        "delivered": 1450,
        "opened": 800,
        "clicked": 250,
        "replied": 45,
        "failed": 50,
        "openRate": 0.55,
        "clickRate": 0.17,
        "replyRate": 0.03,
        "deliveryRate": 0.97,
        "optedOut": 3,
        "blocked": 2,
        "skipped": 7,
        "timeline": [{"timestamp": "2026-01-20T10:00:00Z", "sent": 1500, "delivered": 1450}],
    }


async def test_a_draft_has_zeros(api: Api) -> None:
    _, answer = await api.get(f"/campaigns/{(await campaign(api))['id']}/metrics")
    assert answer["data"].pop("timeline") == []
    assert set(answer["data"].values()) == {0}


async def test_the_timeline_is_by_hour_or_by_day_and_only_of_what_was_sent(api: Api) -> None:
    known = await campaign(api)
    await counted(api, known["id"], hour=NEXT_DAY, sent=4, delivered=4)
    await counted(api, known["id"], hour=TEN, sent=1, delivered=1)
    await counted(api, known["id"], hour=TEN, sent=1, failed=1)
    await counted(api, known["id"], hour=ELEVEN, sent=2, delivered=2)
    await counted(api, known["id"], hour="2026-01-25T00", opened=2)
    path = f"/campaigns/{known['id']}/metrics"
    _, answer = await api.get(path)
    assert answer["data"]["timeline"] == [
        {"timestamp": "2026-01-20T10:00:00Z", "sent": 2, "delivered": 1},
        {"timestamp": "2026-01-20T11:00:00Z", "sent": 2, "delivered": 2},
        {"timestamp": "2026-01-21T09:00:00Z", "sent": 4, "delivered": 4},
    ]
    assert (await api.get(f"{path}?interval=hour"))[1]["data"] == answer["data"]
    _, answer = await api.get(f"{path}?interval=day")
    assert answer["data"]["timeline"] == [
        {"timestamp": "2026-01-20T00:00:00Z", "sent": 4, "delivered": 3},
        {"timestamp": "2026-01-21T00:00:00Z", "sent": 4, "delivered": 4},
    ]


async def test_metrics_of_one_run(api: Api) -> None:
    known = await campaign(api)
    await counted(api, known["id"], "first", hour=TEN, sent=4, delivered=4)
    await counted(api, known["id"], "second", hour=ELEVEN, sent=2, delivered=1)
    _, answer = await api.get(f"/campaigns/{known['id']}/metrics?runId=second")
    assert (answer["data"]["totalSent"], answer["data"]["deliveryRate"]) == (2, 0.5)
    assert [each["sent"] for each in answer["data"]["timeline"]] == [2]


@pytest.mark.parametrize("query", ["interval=minute", "runId=", "interval=day&interval=hour", "groupBy=day"])
async def test_a_wrong_question_is_refused(api: Api, query: str) -> None:
    status, answer = await api.get(f"/campaigns/{(await campaign(api))['id']}/metrics?{query}")
    assert (status, answer["code"]) == (400, "VALIDATION_ERROR")


async def test_the_counters_of_a_page_of_campaigns_are_read_by_their_index(api: Api) -> None:
    query = {"merchantId": api.merchant_id, "campaignId": {"$in": [new_id(), new_id()]}}
    plan = await api.database["campaignCounts"].find(query).explain()
    assert "campaignId_1" in str(plan["queryPlanner"]["winningPlan"])


# --- runs


async def test_runs_are_listed_newest_first_with_their_numbers(api: Api) -> None:
    known = await campaign(api)
    first = await run(api, known["id"], total=5, status="completed", endedAt=NOW)
    second = await run(api, known["id"], total=7, status="missed", startedAt=None)
    await counted(api, known["id"], first, sent=5, delivered=4, failed=1)
    await run(api, (await campaign(api))["id"])
    status, answer = await api.get(f"/campaigns/{known['id']}/runs")
    assert (status, answer["pagination"]["total"]) == (200, 2)
    newest, oldest = answer["data"]
    assert (newest["id"], newest["number"], newest["status"], newest["startedAt"]) == (second, 2, "missed", None)
    assert (newest["recipients"], newest["metrics"]["totalSent"]) == (7, 0)
    assert (oldest["id"], oldest["endedAt"], oldest["recipients"]) == (first, "2026-01-18T10:00:00Z", 5)
    assert (oldest["metrics"]["totalSent"], oldest["metrics"]["failed"]) == (5, 1)
    _, answer = await api.get(f"/campaigns/{known['id']}/runs?skip=1&take=1")
    assert [each["id"] for each in answer["data"]] == [first]


# --- recipients


async def some_recipients(api: Api) -> tuple[str, dict[str, str]]:
    """Return a campaign's id, and its recipients' ids by what is particular to them."""
    known, account_id = await campaign(api), await api.account()

    async def one(name: str, run_id: str = "run-1", **fields: object) -> str:
        return await recipient(api, known["id"], run_id, await api.contact(account_id, name), **fields)

    return known["id"], {
        "plain": await one("plain"),
        "opened": await one("opened", openedAt=later(minutes=1)),
        "clicked": await one("clicked", openedAt=later(minutes=1), clickedAt=later(minutes=2), variant="short"),
        "replied": await one("replied", repliedAt=later(minutes=3)),
        "failed": await one("failed", status="failed", reason="blocked", sentAt=None),
        "later": await one("later", "run-2", status="pending", sentAt=None, messageId=None),
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["plain", "opened", "clicked", "replied", "failed", "later"]),
        ("status=sent", ["plain", "opened", "clicked", "replied"]),
        ("status=failed", ["failed"]),
        ("reason=blocked", ["failed"]),
        ("reason=unknown", []),
        ("variant=short", ["clicked"]),
        ("runId=run-2", ["later"]),
        ("runId=run-1&status=failed", ["failed"]),
        ("opened=true", ["opened", "clicked"]),
        ("clicked=true", ["clicked"]),
        ("replied=true", ["replied"]),
        ("opened=true&clicked=true&replied=true", []),
        ("skip=1&take=2", ["opened", "clicked"]),
    ],
)
async def test_recipients_are_filtered(api: Api, query: str, expected: list[str]) -> None:
    campaign_id, ids = await some_recipients(api)
    status, answer = await api.get(f"/campaigns/{campaign_id}/recipients?{query}")
    assert status == 200
    assert [each["id"] for each in answer["data"]] == [ids[name] for name in expected]
    assert "skip" in query or answer["pagination"]["total"] == len(expected)


async def test_a_recipient_is_shown_with_the_names_of_its_contact(api: Api) -> None:
    campaign_id, ids = await some_recipients(api)
    _, answer = await api.get(f"/campaigns/{campaign_id}/recipients?clicked=true")
    (shown,) = answer["data"]
    assert shown["id"] == ids["clicked"]
    assert shown["contact"] == {"username": "clicked", "displayName": "John Doe"}
    assert (shown["variant"], shown["runId"], shown["status"], shown["attempt"]) == ("short", "run-1", "sent", 1)
    assert (shown["openedAt"], shown["clickedAt"]) == ("2026-01-18T10:01:00Z", "2026-01-18T10:02:00Z")
    assert shown["repliedAt"] is None


@pytest.mark.parametrize("query", ["status=lost", "opened=false", "opened=1", "format=xml", "take=0", "name=x"])
async def test_a_wrong_filter_is_refused(api: Api, query: str) -> None:
    status, answer = await api.get(f"/campaigns/{(await campaign(api))['id']}/recipients?{query}")
    assert (status, answer["code"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("query", "accept", "is_csv"),
    [
        ("", "text/csv", True),
        ("", "Text/CSV;q=0.9, */*;q=0.1", True),
        ("?format=csv", "application/json", True),
        ("?format=json", "text/csv", False),
        ("", "application/json, text/csv", False),
        ("", "*/*", False),
    ],
)
async def test_csv_is_answered_where_it_is_asked_for(api: Api, query: str, accept: str, is_csv: bool) -> None:
    path = f"/campaigns/{(await campaign(api))['id']}/recipients{query}"
    answer = await api.answer("GET", path, headers={"Accept": accept})
    assert (answer.status, answer.content_type) == (200, "text/csv" if is_csv else "application/json")


async def test_a_sheet_holds_everybody_that_matches_whatever_the_page(api: Api) -> None:
    campaign_id, _ = await some_recipients(api)
    answer = await api.answer("GET", f"/campaigns/{campaign_id}/recipients?format=csv&take=1&runId=run-1")
    header, *rows = csv.reader(io.StringIO(await answer.text()))
    assert header == list(COLUMNS)
    shown = [dict(zip(header, row, strict=True)) for row in rows]
    assert [each["username"] for each in shown] == ["plain", "opened", "clicked", "replied", "failed"]
    assert shown[2]["clickedAt"] == "2026-01-18T10:02:00Z"
    assert (shown[4]["status"], shown[4]["reason"], shown[4]["sentAt"]) == ("failed", "blocked", "")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="recipients-{campaign_id}.csv"'


async def test_a_sheet_of_several_batches_names_everybody_once(api: Api) -> None:
    known = await campaign(api)
    for n in range(501):
        await recipient(api, known["id"], "run", f"{n:04}")
    answer = await api.answer("GET", f"/campaigns/{known['id']}/recipients?format=csv")
    _, *rows = csv.reader(io.StringIO(await answer.text()))
    assert [row[0] for row in rows] == [f"{n:04}" for n in range(501)]


async def test_a_sheet_that_cannot_be_brought_to_an_end_is_broken_off(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = await campaign(api)
    await recipient(api, known["id"], "run", "a-contact")

    async def fail(*_: object) -> list[RecipientDocument]:
        raise AutoReconnect("gone")

    monkeypatch.setattr(CampaignReports, "_some", fail)
    with pytest.raises((aiohttp.ClientPayloadError, aiohttp.ClientConnectionError)):
        await api.answer("GET", f"/campaigns/{known['id']}/recipients?format=csv")


@pytest.mark.parametrize("name", ["=HYPERLINK(A1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1"])
async def test_no_name_becomes_a_formula(api: Api, name: str) -> None:
    known = await campaign(api)
    await recipient(api, known["id"], "run", await api.contact(await api.account(), displayName=name))
    answer = await api.answer("GET", f"/campaigns/{known['id']}/recipients?format=csv")
    _, row = csv.reader(io.StringIO(await answer.text(), newline=""))
    assert row[COLUMNS.index("displayName")] == f"'{name}"


async def test_names_with_commas_quotes_and_lines_stay_in_their_cells(api: Api) -> None:
    known = await campaign(api)
    name = 'Doe, "John"\nvan'
    await recipient(api, known["id"], "run", await api.contact(await api.account(), displayName=name))
    answer = await api.answer("GET", f"/campaigns/{known['id']}/recipients?format=csv")
    _, row = csv.reader(io.StringIO(await answer.text(), newline=""))
    assert row[COLUMNS.index("displayName")] == name


async def test_recipients_of_a_run_are_read_by_their_index(api: Api) -> None:
    query = {"merchantId": api.merchant_id, "campaignId": new_id(), "status": "sent"}
    plan = await api.database["campaignRecipients"].find(query).sort({"_id": 1}).explain()
    assert "merchantId_1_campaignId_1__id_1" in str(plan["queryPlanner"]["winningPlan"])


# --- results


async def test_results_are_by_variant_with_how_sure_they_are(api: Api) -> None:
    short, long = await template(api), await template(api)
    variants = [{"name": "short", "templateId": short}, {"name": "long", "templateId": long}]
    known = await campaign(api, variants=variants)
    await counted(api, known["id"], variant="short", sent=60, delivered=50, failed=10, opened=25, clicked=10)
    await counted(api, known["id"], variant="short", hour=ELEVEN, sent=50, delivered=50, replied=10, optedOut=1)
    await counted(api, known["id"], variant="long", skipped=3)
    await counted(api, known["id"], variant="earlier", sent=1, delivered=1)
    status, answer = await api.get(f"/campaigns/{known['id']}/results")
    assert status == 200
    first, second, third = answer["data"]["variants"]
    assert (first["name"], first["templateId"]) == ("short", short)
    assert (first["totalSent"], first["delivered"], first["failed"], first["optedOut"]) == (110, 100, 10, 1)
    # Wilson's interval of 10 of 100, as tables have it.
    assert first["replyRate"] == {"rate": 0.1, "low": 0.0552, "high": 0.1744}
    assert (first["openRate"]["rate"], first["clickRate"]["rate"], first["optOutRate"]["rate"]) == (0.25, 0.1, 0.01)
    assert (second["name"], second["templateId"], second["skipped"]) == ("long", long, 3)
    assert second["replyRate"] == {"rate": 0, "low": 0, "high": 1}
    assert (third["name"], third["templateId"], third["delivered"]) == ("earlier", None, 1)
    assert answer["data"]["control"] is None
    assert [each["versusControl"] for each in answer["data"]["variants"]] == [None, None, None]


async def test_a_campaign_without_variants_has_one_result(api: Api) -> None:
    known = await campaign(api)
    _, answer = await api.get(f"/campaigns/{known['id']}/results")
    (only,) = answer["data"]["variants"]
    assert (only["name"], only["templateId"], only["totalSent"]) == ("all", known["templateId"], 0)


@pytest.mark.parametrize(("replied", "significant"), [(20, False), (60, True)])
async def test_a_variant_is_compared_with_those_who_got_nothing(api: Api, replied: int, significant: bool) -> None:
    known = await campaign(api, controlShare=0.1)
    await counted(api, known["id"], sent=200, delivered=200, replied=replied)
    await counted(api, known["id"], variant="control", skipped=100, replied=10, optedOut=2)
    _, answer = await api.get(f"/campaigns/{known['id']}/results")
    (only,), control = answer["data"]["variants"], answer["data"]["control"]
    assert (control["contacts"], control["replied"], control["optedOut"]) == (100, 10, 2)
    assert control["replyRate"]["rate"] == 0.1
    versus = only["versusControl"]
    assert versus["difference"] == round(replied / 200 - 0.1, 4)
    assert versus["low"] <= versus["difference"] <= versus["high"]
    assert versus["significant"] is significant is (versus["low"] > 0)


async def test_results_of_one_run(api: Api) -> None:
    known = await campaign(api)
    await counted(api, known["id"], "first", sent=4, delivered=4)
    await counted(api, known["id"], "second", sent=2, delivered=2)
    _, answer = await api.get(f"/campaigns/{known['id']}/results?runId=second")
    assert [each["totalSent"] for each in answer["data"]["variants"]] == [2]


async def test_a_reply_that_is_known_before_its_message_is_breaks_nothing(api: Api) -> None:
    known = await campaign(api)
    await counted(api, known["id"], sent=1, delivered=1, replied=2)
    await counted(api, known["id"], variant="control", skipped=1, replied=2)
    _, answer = await api.get(f"/campaigns/{known['id']}/results")
    assert answer["data"]["variants"][0]["replyRate"]["rate"] == 1
