from __future__ import annotations

import asyncio

import pytest

from domain.errors import Unavailable
from domain.events import EventKind, XEvent
from domain.ids import new_id
from gateway.dependencies import Dependencies
from storage.dead_letters import unknown_account_letter
from tests.gateway.conftest import NOW, Actors, Api, later
from tests.gateway.x_server import XState


def credentials(x: XState, user_id: str | None = None, username: str = "shop") -> dict[str, str]:
    token = f"token-{new_id()}"
    x.register(token, user_id or str(int(new_id().replace("-", ""), 16))[:18], username)
    return {"oauthToken": token, "oauthTokenSecret": "secret-of-the-token"}


MORNING = {"start": "09:00", "end": "12:00"}


def day(**hours: object) -> dict[str, object]:
    return {"businessHours": {"schedule": hours}}


async def test_connecting_answers_the_account_as_the_api_document_shows_it(api: Api, x_state: XState) -> None:
    status, answer = await api.post("/accounts", credentials(x_state, "123456789012", "goodgo_shop"))
    assert status == 200
    data = answer["data"]
    assert answer["success"] is True
    assert data["merchantId"] == api.merchant_id
    assert data["twitterUserId"] == "123456789012"
    assert data["username"] == "goodgo_shop"
    assert data["displayName"] == "Name of goodgo_shop"
    assert data["status"] == "active"
    assert data["webhookId"] == "7001"
    assert data["connectedAt"].endswith("Z")
    assert x_state.subscribed == ["123456789012"]


async def test_tokens_are_stored_encrypted_and_never_answered(api: Api, x_state: XState, deps: Dependencies) -> None:
    given = credentials(x_state)
    status, answer = await api.post("/accounts", given)
    stored = await api.database["accounts"].find_one({"_id": answer["data"]["id"]})
    assert status == 200
    assert stored is not None
    assert given["oauthToken"] not in str(stored)
    assert given["oauthTokenSecret"] not in str(stored)
    assert "token" not in str(answer).lower()
    opened = await deps.repositories.accounts.tokens(api.merchant_id, answer["data"]["id"])
    assert opened is not None
    assert (opened.oauth_token, opened.oauth_token_secret) == (given["oauthToken"], given["oauthTokenSecret"])


async def test_the_actor_is_told_of_a_connected_account(api: Api, x_state: XState, actors: Actors) -> None:
    _, answer = await api.post("/accounts", credentials(x_state))
    assert actors.calls == [("reload", answer["data"]["id"])]


async def test_credentials_that_x_refuses_are_answered_400_with_x_s_own_words(api: Api) -> None:
    status, answer = await api.post("/accounts", {"oauthToken": "wrong", "oauthTokenSecret": "wrong"})
    assert status == 400
    assert answer["code"] == "TWITTER_API_ERROR"
    assert answer["details"]["code"] == 89
    assert answer["details"]["text"] == "Invalid or expired token."
    assert await api.database["accounts"].count_documents({"merchantId": api.merchant_id}) == 0


async def test_a_broken_x_is_answered_502(api: Api, x_state: XState) -> None:
    given = credentials(x_state)
    x_state.broken = True
    status, answer = await api.post("/accounts", given)
    assert (status, answer["code"]) == (502, "TWITTER_API_ERROR")


async def test_an_account_that_is_connected_anywhere_is_refused(api: Api, x_state: XState) -> None:
    given = credentials(x_state)
    assert (await api.post("/accounts", given))[0] == 200
    assert (await api.post("/accounts", given))[0] == 409
    status, answer = await api.other_merchant().post("/accounts", given)
    assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")


async def test_of_many_connecting_the_same_account_at_once_one_wins(api: Api, x_state: XState) -> None:
    given = credentials(x_state)
    rivals = [api, api.other_merchant(), api, api.other_merchant(), api]
    answers = await asyncio.gather(*(each.post("/accounts", given) for each in rivals))
    assert sorted(status for status, _ in answers) == [200, 409, 409, 409, 409]


async def test_an_account_that_was_disconnected_comes_back_with_its_old_id(api: Api, x_state: XState) -> None:
    given = credentials(x_state)
    _, first = await api.post("/accounts", given)
    account_id = first["data"]["id"]
    await api.put(f"/accounts/{account_id}", {"autoReplyEnabled": True})
    assert (await api.delete(f"/accounts/{account_id}"))[1] == {"success": True, "data": None}
    fresh = credentials(x_state, first["data"]["twitterUserId"])
    _, again = await api.post("/accounts", fresh)
    assert again["data"]["id"] == account_id
    assert again["data"]["status"] == "active"
    assert again["data"]["autoReplyEnabled"] is True


async def test_connecting_that_was_cut_off_answers_its_account_when_it_is_repeated(
    api: Api, x_state: XState, actors: Actors
) -> None:
    given, key = credentials(x_state), {"Idempotency-Key": new_id()}
    actors.reload_fails = RuntimeError("cut off")
    assert (await api.post("/accounts", given, headers=key))[0] == 500
    actors.reload_fails = None
    status, answer = await api.post("/accounts", given, headers=key)
    assert (status, answer["data"]["username"]) == (200, "shop")
    assert (await api.post("/accounts", given))[0] == 409


async def test_an_account_is_connected_even_while_its_actor_is_out_of_reach(
    api: Api, x_state: XState, actors: Actors
) -> None:
    actors.reload_fails = Unavailable("gone", retry_after_s=2)
    assert (await api.post("/accounts", credentials(x_state)))[0] == 200


async def test_disconnecting_unsubscribes_revokes_and_erases(api: Api, x_state: XState) -> None:
    given = credentials(x_state)
    _, connected = await api.post("/accounts", given)
    account_id = connected["data"]["id"]
    status, _ = await api.delete(f"/accounts/{account_id}")
    stored = await api.database["accounts"].find_one({"_id": account_id})
    assert status == 200
    assert x_state.unsubscribed == [connected["data"]["twitterUserId"]]
    assert x_state.revoked == [given["oauthToken"]]
    assert stored is not None
    assert (stored["status"], stored["tokens"], stored["connected"]) == ("inactive", None, False)
    assert (await api.delete(f"/accounts/{account_id}"))[0] == 200


async def test_disconnecting_works_while_x_is_down(api: Api, x_state: XState) -> None:
    _, connected = await api.post("/accounts", credentials(x_state))
    x_state.broken = True
    status, _ = await api.delete(f"/accounts/{connected['data']['id']}")
    _, shown = await api.get(f"/accounts/{connected['data']['id']}")
    assert status == 200
    assert shown["data"]["status"] == "inactive"


async def test_an_account_that_x_had_refused_sends_again_once_x_knows_it(
    api: Api, x_state: XState, actors: Actors
) -> None:
    given = credentials(x_state)
    account_id = (await api.post("/accounts", given))[1]["data"]["id"]
    refused = {"status": "error", "statusReason": "account_locked"}
    await api.database["accounts"].update_one({"_id": account_id}, {"$set": refused})
    actors.calls.clear()
    status, answer = await api.post(f"/accounts/{account_id}/reactivate")
    assert (status, answer["data"]["status"], answer["data"]["statusReason"]) == (200, "active", None)
    assert actors.calls == [("reload", account_id)]

    await api.database["accounts"].update_one({"_id": account_id}, {"$set": refused})
    x_state.users.pop(given["oauthToken"])
    status, answer = await api.post(f"/accounts/{account_id}/reactivate")
    assert (status, answer["code"]) == (400, "TWITTER_API_ERROR")
    assert (await api.get(f"/accounts/{account_id}"))[1]["data"]["statusReason"] == "account_locked"


async def test_an_account_whose_tokens_can_t_be_read_is_to_be_connected_again(api: Api, x_state: XState) -> None:
    account_id = (await api.post("/accounts", credentials(x_state)))[1]["data"]["id"]
    stored = await api.database["accounts"].find_one({"_id": account_id})
    assert stored is not None
    # As when the key that sealed them is gone.
    unreadable = {"tokens.oauthToken": stored["tokens"]["oauthTokenSecret"]}
    await api.database["accounts"].update_one({"_id": account_id}, {"$set": unreadable})
    status, answer = await api.post(f"/accounts/{account_id}/reactivate")
    assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")
    assert "connect it again" in answer["error"]


async def test_an_account_that_is_not_connected_is_not_reactivated(api: Api) -> None:
    status, answer = await api.post(f"/accounts/{await api.account(connected=False)}/reactivate")
    assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")
    assert (await api.post(f"/accounts/{new_id()}/reactivate"))[0] == 404


async def test_the_list_is_filtered_by_status_and_paged(api: Api) -> None:
    for number in range(3):
        await api.account(connectedAt=later(hours=number))
    await api.account(status="error", statusReason="revoked")
    status, answer = await api.get("/accounts?status=active&take=2")
    assert status == 200
    assert answer["pagination"] == {"page": 1, "limit": 2, "total": 3, "totalPages": 2}
    assert [each["connectedAt"] for each in answer["data"]] == ["2026-01-18T12:00:00Z", "2026-01-18T11:00:00Z"]
    _, rest = await api.get("/accounts?status=active&take=2&skip=2")
    assert [each["connectedAt"] for each in rest["data"]] == ["2026-01-18T10:00:00Z"]
    assert rest["pagination"]["page"] == 2


async def test_one_account_comes_with_its_statistics(api: Api) -> None:
    account_id = await api.account()
    first = await api.contact(account_id)
    await api.contact(account_id, "other")
    conversation = await api.conversation(account_id, first)
    await api.inbound(conversation, "now", api.deps.clock.now())
    await api.inbound(conversation, "long ago", NOW.replace(year=2020))
    _, answer = await api.get(f"/accounts/{account_id}")
    assert answer["data"]["statistics"] == {"totalContacts": 2, "totalConversations": 1, "messagesThisMonth": 1}


async def test_settings_are_changed_field_by_field(api: Api) -> None:
    account_id = await api.account()
    seed = {
        "autoReplyEnabled": True,
        "businessHours": {
            "enabled": True,
            "timezone": "Asia/Ho_Chi_Minh",
            "schedule": {
                "monday": {"start": "09:00", "end": "18:00"},
                "tuesday": {"start": "09:00", "end": "18:00"},
            },
        },
    }
    status, answer = await api.put(f"/accounts/{account_id}", seed)
    assert status == 200
    assert answer["data"]["autoReplyEnabled"] is True
    assert answer["data"]["businessHours"] == seed["businessHours"] | {"holidays": [], "awayMessage": None}
    split = [{"start": "08:00", "end": "12:00"}, {"start": "20:00", "end": "02:00"}]
    change = {"businessHours": {"schedule": {"monday": split, "tuesday": None}, "holidays": ["2026-12-25"]}}
    _, answer = await api.put(f"/accounts/{account_id}", change)
    hours = answer["data"]["businessHours"]
    assert hours["schedule"] == {"monday": split, "tuesday": None}
    assert hours["holidays"] == ["2026-12-25"]
    assert hours["timezone"] == "Asia/Ho_Chi_Minh"
    assert answer["data"]["autoReplyEnabled"] is True


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"autoReplyEnabled": "yes"}, "autoReplyEnabled"),
        ({"autoReplyEnabled": None}, "autoReplyEnabled"),
        ({"merchantId": "another"}, "merchantId"),
        ({"status": "active"}, "status"),
        ({"_id": "another"}, "_id"),
        ({"$set": {"merchantId": "another"}}, "$set"),
        ({"businessHours": {"timezone": "Mars/Olympus"}}, "businessHours.timezone"),
        ({"businessHours": {"timezone": {"$ne": ""}}}, "businessHours.timezone"),
        (
            {"businessHours": {"schedule": {"monday": {"start": "9:00", "end": "18:00"}}}},
            "businessHours.schedule.monday.start",
        ),
        (
            {"businessHours": {"schedule": {"monday": {"start": "09:00", "end": "25:00"}}}},
            "businessHours.schedule.monday.end",
        ),
        (
            {"businessHours": {"schedule": {"monday": {"start": "09:00", "end": "09:00"}}}},
            "businessHours.schedule.monday",
        ),
        ({"businessHours": {"schedule": {"funday": []}}}, "businessHours.schedule.funday"),
        ({"businessHours": {"holidays": [1]}}, "businessHours.holidays"),
        ({"businessHours": {"holidays": ["25.12.2026"]}}, "businessHours.holidays.0"),
    ],
)
async def test_settings_that_make_no_sense_are_refused_by_name(api: Api, body: object, field: str) -> None:
    account_id = await api.account()
    before = await api.database["accounts"].find_one({"_id": account_id})
    status, answer = await api.put(f"/accounts/{account_id}", body)
    assert (status, answer["code"]) == (422, "VALIDATION_ERROR")
    assert answer["details"]["field"] == field
    assert answer["details"]["errors"][0]["field"] == field
    assert await api.database["accounts"].find_one({"_id": account_id}) == before


async def test_limits_show_every_window(api: Api, actors: Actors) -> None:
    account_id = await api.account()
    actors.windows = [{"name": "messages24h", "limit": 500, "used": 2, "resets_at": later(hours=1)}]
    _, answer = await api.get(f"/accounts/{account_id}/limits")
    assert answer["data"] == {
        "windows": [
            {"name": "messages24h", "limit": 500, "used": 2, "remaining": 498, "resetsAt": "2026-01-18T11:00:00Z"}
        ]
    }


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/accounts/{id}", None),
        ("PUT", "/accounts/{id}", {"autoReplyEnabled": True}),
        ("DELETE", "/accounts/{id}", None),
        ("GET", "/accounts/{id}/limits", None),
    ],
)
async def test_another_merchant_s_account_is_not_there(api: Api, method: str, path: str, body: object) -> None:
    account_id = await api.account()
    before = await api.database["accounts"].find_one({"_id": account_id})
    status, answer = await api.other_merchant().call(method, path.format(id=account_id), json=body)
    unknown_status, unknown = await api.call(method, path.format(id=new_id()), json=body)
    assert (status, answer["code"]) == (unknown_status, unknown["code"]) == (404, "RESOURCE_NOT_FOUND")
    assert answer["error"] == unknown["error"]
    assert await api.database["accounts"].find_one({"_id": account_id}) == before


async def test_another_merchant_s_accounts_are_not_listed(api: Api) -> None:
    await api.account()
    _, answer = await api.other_merchant().get("/accounts")
    assert answer["data"] == []
    assert answer["pagination"] == {"page": 1, "limit": 20, "total": 0, "totalPages": 0}


@pytest.mark.parametrize("role", ["agent", "viewer"])
async def test_only_admins_and_owners_change_accounts(api: Api, x_state: XState, role: str) -> None:
    account_id = await api.account()
    caller = api.as_role(role)
    assert (await caller.post("/accounts", credentials(x_state)))[0] == 403
    assert (await caller.put(f"/accounts/{account_id}", {"autoReplyEnabled": True}))[0] == 403
    status, answer = await caller.delete(f"/accounts/{account_id}")
    assert (status, answer["code"]) == (403, "FORBIDDEN")
    assert (await caller.get(f"/accounts/{account_id}"))[0] == 200


async def test_events_that_came_before_the_account_are_put_back_into_the_inbox(api: Api, x_state: XState) -> None:
    given = credentials(x_state, "555000111")
    clock = api.deps.clock
    early = XEvent(
        "dm:early", EventKind.MESSAGE, "555000111", "42", clock.now(), {"twitterMessageId": "1", "text": "?"}
    )
    letter = unknown_account_letter(early, clock.now())
    await api.database["deadLetters"].insert_one({"_id": early.key, **letter})
    assert (await api.post("/accounts", given))[0] == 200
    async with asyncio.timeout(20):
        while not await api.database["inbox"].find_one_and_delete({"events.key": "dm:early"}):
            await asyncio.sleep(0.01)
    assert await api.database["deadLetters"].count_documents({"_id": early.key}) == 0


CONSENT = {
    "requireConsent": True,
    "stopWords": ["basta", "Stop it"],
    "startWords": ["ancora"],
    "optOutConfirmation": "Done.",
    "quietHours": {"start": "21:00", "end": "08:00", "timezone": "Asia/Ho_Chi_Minh"},
    "campaignMessagesPerWeek": 3,
}


async def test_what_is_sent_to_whom_and_when_is_set_and_taken_back(api: Api, actors: Actors) -> None:
    path = f"/accounts/{await api.account()}"
    _, unset = await api.get(path)
    defaults = {name: unset["data"][name] for name in CONSENT}
    nothing_set = dict.fromkeys(CONSENT) | {"requireConsent": False, "campaignMessagesPerWeek": 0}
    assert defaults == nothing_set
    status, answer = await api.put(path, CONSENT)
    assert status == 200
    assert {name: answer["data"][name] for name in CONSENT} == CONSENT
    # A range is replaced whole: it has no time zone of its own any more.
    _, answer = await api.put(path, {"quietHours": {"start": "22:00", "end": "24:00"}})
    assert answer["data"]["quietHours"] == {"start": "22:00", "end": "24:00", "timezone": None}
    assert answer["data"]["stopWords"] == CONSENT["stopWords"]
    _, answer = await api.put(path, nothing_set)
    assert {name: answer["data"][name] for name in CONSENT} == nothing_set
    assert [call for call, _ in actors.calls] == ["reload"] * 3


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"requireConsent": "yes"}, "requireConsent"),
        ({"stopWords": []}, "stopWords"),
        ({"stopWords": ["!!"]}, "stopWords.0"),
        ({"startWords": ["x" * 51]}, "startWords.0"),
        ({"optOutConfirmation": ""}, "optOutConfirmation"),
        ({"quietHours": {"start": "21:00"}}, "quietHours.end"),
        ({"quietHours": {"start": "25:00", "end": "08:00"}}, "quietHours.start"),
        ({"quietHours": {"start": "08:00", "end": "08:00"}}, "quietHours"),
        ({"quietHours": {"start": "00:00", "end": "24:00"}}, "quietHours"),
        ({"quietHours": {"start": "21:00", "end": "08:00", "timezone": "Mars/Base"}}, "quietHours.timezone"),
        ({"campaignMessagesPerWeek": -1}, "campaignMessagesPerWeek"),
        ({"campaignMessagesPerWeek": 11}, "campaignMessagesPerWeek"),
    ],
)
async def test_consent_settings_that_make_no_sense_are_refused_by_name(api: Api, body: object, field: str) -> None:
    status, answer = await api.put(f"/accounts/{await api.account()}", body)
    assert (status, answer["details"]["field"]) == (422, field)
