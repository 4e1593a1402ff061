"""Importing contacts: what is read, what becomes of each row, and what happens when it is cut off."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest

from domain.errors import InvalidContent
from domain.ids import new_id
from gateway.contact_import import carry_out, resume_imports
from gateway.contact_rows import MOST_ROWS, read_rows
from storage.contact_imports import ContactImports
from tests.gateway.conftest import Api

HEADER = "twitterUserId,username,displayName,tags,consent,attributes.tier,attributes.orders\n"


def user_id() -> str:
    return str(uuid4().int)[:15]


async def imported(api: Api, account_id: str, form: str, content: str) -> dict[str, Any]:
    """Import, and return the import once it has ended."""
    body = {"accountId": account_id, "format": form, "content": content}
    status, answer = await api.post("/contacts/import", body)
    assert status == 200
    return await ended(api, answer["data"]["id"])


async def ended(api: Api, import_id: str) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while True:
            status, answer = await api.get(f"/contacts/imports/{import_id}")
            assert status == 200
            if answer["data"]["status"] == "completed":
                return dict(answer["data"])
            await asyncio.sleep(0.02)


async def contact(api: Api, contact_id: str) -> dict[str, Any]:
    _, answer = await api.get(f"/contacts/{contact_id}")
    return dict(answer["data"])


async def test_csv_makes_contacts_and_says_what_became_of_each_row(api: Api) -> None:
    account_id, known = await api.account(), user_id()
    known_id = await api.contact(account_id, twitterUserId=known, tags=["old"], attributes={"kept": 1})
    one = user_id()
    content = HEADER + (
        f'{one},@jane,"Doe, Jane",VIP;customer,opted_in,gold,5\n'
        f"{known},,,new,opted_out,,\n"
        "not-an-id,,,,,,\n"
        f"{one},,,,,,\n"
        f"{user_id()},,,,perhaps,,\n"
    )
    job = await imported(api, account_id, "csv", content)
    assert (job["total"], job["processed"]) == (5, 5)
    assert job["counts"] == {"created": 1, "updated": 1, "failed": 3}
    assert [result["row"] for result in job["results"]] == [1, 2, 3, 4, 5]
    first, second, *wrong = job["results"]
    assert (first["status"], second["status"], second["contactId"]) == ("created", "updated", known_id)
    assert [result["field"] for result in wrong] == ["twitterUserId", "twitterUserId", "consent"]
    jane = await contact(api, first["contactId"])
    assert (jane["username"], jane["displayName"], jane["tags"]) == ("jane", "Doe, Jane", ["vip", "customer"])
    assert (jane["attributes"], jane["source"]) == ({"tier": "gold", "orders": 5}, "import")
    assert jane["consent"]["state"] == "opted_in"
    there = await contact(api, known_id)
    assert (there["tags"], there["attributes"], there["displayName"]) == (["old", "new"], {"kept": 1}, "John Doe")
    assert there["consent"]["state"] == "opted_out"


async def test_json_lines_make_contacts(api: Api) -> None:
    account_id = await api.account()
    rows = [{"twitterUserId": user_id(), "attributes": {"list": ["a"], "yes": True}}, {"twitterUserId": user_id()}]
    content = "\n".join([orjson.dumps(rows[0]).decode(), "", orjson.dumps(rows[1]).decode(), "no json", "[]", ""])
    job = await imported(api, account_id, "jsonl", content)
    assert [result["status"] for result in job["results"]] == ["created", "created", "failed", "failed"]
    created = await contact(api, job["results"][0]["contactId"])
    assert created["attributes"] == {"list": ["a"], "yes": True}


async def test_an_import_does_not_undo_that_a_contact_opted_out(api: Api) -> None:
    account_id, known = await api.account(), user_id()
    consent = {"state": "opted_out", "at": None, "source": "message"}
    contact_id = await api.contact(account_id, twitterUserId=known, consent=consent)
    await imported(api, account_id, "jsonl", orjson.dumps({"twitterUserId": known, "consent": "opted_in"}).decode())
    assert (await contact(api, contact_id))["consent"] == consent


async def test_a_row_that_says_how_a_contact_agreed_again_takes_an_opt_out_back(api: Api) -> None:
    account_id, known = await api.account(), user_id()
    consent = {"state": "opted_out", "at": None, "source": "message"}
    contact_id = await api.contact(account_id, twitterUserId=known, consent=consent)
    content = f"twitterUserId,consent,consentSource\n{known},opted_in,form of 3 May\n{user_id()},opted_in,form\n"
    job = await imported(api, account_id, "csv", content)
    again = (await contact(api, contact_id))["consent"]
    assert (again["state"], again["source"]) == ("opted_in", "form of 3 May")
    assert (await contact(api, job["results"][1]["contactId"]))["consent"]["source"] == "form"


async def test_a_row_over_a_limit_fails_alone(api: Api) -> None:
    account_id, full = await api.account(), user_id()
    await api.contact(account_id, twitterUserId=full, tags=[f"t{n}" for n in range(100)])
    content = f"twitterUserId,tags\n{full},more\n{user_id()},more\n"
    job = await imported(api, account_id, "csv", content)
    assert [(each["status"], each["field"]) for each in job["results"]] == [("failed", "tags"), ("created", None)]


async def test_what_is_done_is_no_more_in_the_job(api: Api) -> None:
    person = user_id()
    job = await imported(api, await api.account(), "csv", f"twitterUserId,displayName\n{person},Name in a row\n")
    stored = await api.database["contactImports"].find_one({"_id": job["id"]})
    assert person not in str(stored)
    assert "Name in a row" not in str(stored)


async def test_an_import_that_was_cut_off_goes_on_and_makes_nobody_twice(api: Api) -> None:
    account_id = await api.account()
    people = [user_id() for _ in range(450)]
    content = "twitterUserId\n" + "\n".join(people)
    job = await imported(api, account_id, "csv", content)
    # As a process leaves it that died after it had made contacts, and before it had noted it.
    results = job["results"][200:]
    rows = [
        {"row": result["row"], "contactId": result["contactId"], "twitterUserId": people[result["row"] - 1]}
        | {"username": None, "displayName": None, "tags": [], "attributes": {}, "consent": None}
        for result in results
    ]
    cut_off = {"status": "running", "rows": rows, "results": job["results"][:200], "counts.created": 200}
    past = api.deps.clock.now() - timedelta(seconds=1)
    await api.database["contactImports"].update_one({"_id": job["id"]}, {"$set": cut_off | {"leaseUntil": past}})
    await resume_imports(api.deps)
    again = await ended(api, job["id"])
    assert again["results"] == job["results"]
    assert again["counts"] == {"created": 450, "updated": 0, "failed": 0}
    assert await api.database["contacts"].count_documents({"accountId": account_id}) == 450


async def test_one_process_at_a_time_works_on_an_import(api: Api) -> None:
    job = await imported(api, await api.account(), "csv", f"twitterUserId\n{user_id()}\n")
    now, imports = api.deps.clock.now(), ContactImports(api.database)
    free = {"status": "running", "rows": [], "leaseUntil": now}
    await api.database["contactImports"].update_one({"_id": job["id"]}, {"$set": free})
    taken = await asyncio.gather(*(imports.lease(api.merchant_id, job["id"], now) for _ in range(5)))
    assert sorted(each is not None for each in taken) == [False] * 4 + [True]
    await carry_out(api.deps, api.merchant_id, job["id"])
    assert (await api.get(f"/contacts/imports/{job['id']}"))[1]["data"]["status"] == "running"


async def test_an_import_whose_process_stops_in_the_middle_is_free_for_the_next(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id, begun = await api.account(), asyncio.Event()

    async def stands_still(*_: object) -> list[object]:
        begun.set()
        await asyncio.Event().wait()
        return []

    content = "twitterUserId\n" + "\n".join(user_id() for _ in range(3))
    with monkeypatch.context() as patched:
        patched.setattr("gateway.contact_import._carry_out_rows", stands_still)
        _, answer = await api.post("/contacts/import", {"accountId": account_id, "format": "csv", "content": content})
        await begun.wait()
        await api.deps.background.close()
    await resume_imports(api.deps)
    job = await ended(api, answer["data"]["id"])
    assert (job["status"], job["counts"]) == ("completed", {"created": 3, "updated": 0, "failed": 0})


async def test_an_import_that_was_taken_over_is_not_given_back_by_the_former_one(api: Api) -> None:
    job = await imported(api, await api.account(), "csv", f"twitterUserId\n{user_id()}\n")
    now, imports = api.deps.clock.now(), ContactImports(api.database)
    free = {"status": "running", "rows": [], "leaseUntil": now}
    await api.database["contactImports"].update_one({"_id": job["id"]}, {"$set": free})
    former = await imports.lease(api.merchant_id, job["id"], now)
    assert former is not None
    assert await imports.lease(api.merchant_id, job["id"], former) is not None
    await imports.release(api.merchant_id, job["id"], former, now)
    assert await imports.lease(api.merchant_id, job["id"], former) is None


async def test_the_same_key_is_the_same_import(api: Api) -> None:
    body = {"accountId": await api.account(), "format": "csv", "content": f"twitterUserId\n{user_id()}\n"}
    headers = {"Idempotency-Key": new_id()}
    first = await api.post("/contacts/import", body, headers=headers)
    assert await api.post("/contacts/import", body, headers=headers) == first


async def test_an_erased_contact_is_not_made_again_by_an_import_that_goes_on(api: Api) -> None:
    account_id, person = await api.account(), user_id()
    contact_id = await api.contact(account_id, twitterUserId=person)
    common = {"merchantId": api.merchant_id, "accountId": account_id, "leaseUntil": api.deps.clock.now()}
    job_id = new_id()
    await api.database["contactImports"].insert_one(
        {**common, "_id": job_id, "status": "running", "rows": [{"row": 1, "twitterUserId": person}, {"row": 2}]}
    )
    assert (await api.delete(f"/contacts/{contact_id}"))[0] == 200
    job = await api.database["contactImports"].find_one({"_id": job_id})
    assert job is not None
    assert job["rows"] == [{"row": 2}]
    await api.database["contactImports"].delete_one({"_id": job_id})


@pytest.mark.parametrize(
    ("form", "content", "reason"),
    [
        ("csv", "username\njane\n", "header"),
        ("csv", "twitterUserId,merchantId\n1,m\n", "merchantId"),
        ("csv", "twitterUserId,twitterUserId\n1,2\n", "twice"),
        ("csv", "twitterUserId\n", "no rows"),
        ("csv", 'twitterUserId\n"1\n', "no CSV"),
        ("jsonl", "\n\n", "no rows"),
        ("jsonl", '{"twitterUserId":"1"}\n' * (MOST_ROWS + 1), "more than"),
    ],
)
def test_content_that_can_not_be_imported_at_all_is_refused(form: Any, content: str, reason: str) -> None:
    with pytest.raises(InvalidContent) as raised:
        read_rows(form, content)
    assert raised.value.problems[0].field == "content"
    assert reason in raised.value.problems[0].reason


@pytest.mark.parametrize(
    "cell", ["0123", "1e999", "12345678901234567890123", "gold", "true story", "[1]", "null", "NaN"]
)
def test_what_is_no_number_of_the_database_stays_text(cell: str) -> None:
    rows = read_rows("csv", f"twitterUserId,attributes.a\n1,{cell}\n")
    assert rows.right[1].attributes == {"a": cell}


@pytest.mark.parametrize("change", [{"format": "xml"}, {"content": ""}, {"accountId": "unknown"}, {"more": 1}])
async def test_a_wrong_request_is_422(api: Api, change: dict[str, object]) -> None:
    body = {"accountId": await api.account(), "format": "csv", "content": "twitterUserId\n1\n"} | change
    status, answer = await api.post("/contacts/import", body)
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")


async def test_another_merchant_s_import_is_not_there(api: Api) -> None:
    job = await imported(api, await api.account(), "csv", f"twitterUserId\n{user_id()}\n")
    assert (await api.other_merchant().get(f"/contacts/imports/{job['id']}"))[0] == 404
