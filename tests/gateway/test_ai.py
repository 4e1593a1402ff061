"""The chatbot over the API: the operations of the API document, settings, and what each refuses."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import ModelUnavailable
from domain.ids import new_id
from storage.ai_sessions import AiSessionDocument, session_id_of
from tests.gateway.conftest import NOW, Actors, Api

SETTINGS = {
    "enabled": True,
    "model": "gpt-4",
    "temperature": 0.7,
    "maxTokens": 500,
    "autoEscalationThreshold": 0.6,
    "systemPrompt": "You are a helpful customer service assistant for GoodGo Shop...",
}
DEFAULTS = {
    "enabled": False,
    "model": "gpt-4o-mini",
    "temperature": 0.7,
    "maxTokens": 500,
    "autoEscalationThreshold": 0.6,
    "systemPrompt": "",
    "escalationWords": [],
    "humanSilenceSeconds": 3600,
    "dailyTokenBudget": None,
    "respectBusinessHours": False,
    "answerDelaySeconds": 2.0,
    "accountIds": [],
    "updatedAt": None,
}


async def test_a_message_is_answered_as_the_api_document_has_it(api: Api, actors: Actors) -> None:
    conversation_id = await api.dialogue()
    status, answer = await api.post(f"/ai/conversations/{conversation_id}/message", {"message": "Where is it?"})
    assert status == 200
    assert answer == {
        "success": True,
        "data": {
            "intent": "order_status_query",
            "confidence": 0.95,
            "response": "You said: Where is it?",
            "slots": {"orderId": "12345"},
            "requiresEscalation": False,
        },
    }
    assert ("ask", conversation_id) in actors.calls


async def test_the_same_request_under_its_key_asks_once(api: Api, actors: Actors) -> None:
    path = f"/ai/conversations/{await api.dialogue()}/message"
    headers = {"Idempotency-Key": new_id()}
    first = await api.post(path, {"message": "hello"}, headers=headers)
    assert await api.post(path, {"message": "hello"}, headers=headers) == first
    assert len([call for call in actors.calls if call[0] == "ask"]) == 1
    status, _ = await api.post(path, {"message": "something else"}, headers=headers)
    assert status == 422


async def test_an_erasure_leaves_no_answer_that_was_kept_for_a_key(api: Api) -> None:
    account_id = await api.account()
    contact_id = await api.contact(account_id)
    conversation_id = await api.conversation(account_id, contact_id)
    other = await api.dialogue()
    for each in (conversation_id, other):
        body, headers = {"message": f"planted {each}"}, {"Idempotency-Key": new_id()}
        await api.post(f"/ai/conversations/{each}/message", body, headers=headers)
    await api.delete(f"/contacts/{contact_id}")
    kept = await api.database["idempotencyKeys"].find({"merchantId": api.merchant_id}).to_list()
    assert [each["about"] for each in kept] == [[other]]


async def test_a_model_server_that_breaks_is_the_api_documents_error(api: Api, actors: Actors) -> None:
    actors.model_fails = ModelUnavailable("The model server is not to be reached", details={"reason": "timeout"})
    status, answer = await api.post(f"/ai/conversations/{await api.dialogue()}/message", {"message": "hello"})
    assert (status, answer["code"]) == (502, "AI_SERVICE_ERROR")
    assert answer["details"]["reason"] == "timeout"


@pytest.mark.parametrize("body", [{}, {"message": ""}, {"message": "  "}, {"message": 5}, {"message": "x" * 10_001}])
async def test_a_message_that_says_nothing_or_too_much_is_refused(api: Api, actors: Actors, body: object) -> None:
    status, answer = await api.post(f"/ai/conversations/{await api.dialogue()}/message", body)
    assert (status, answer["code"], answer["details"]["field"]) == (422, "VALIDATION_ERROR", "message")
    assert not actors.calls


async def test_the_context_of_a_conversation_that_the_chatbot_has_not_met_is_empty(api: Api) -> None:
    conversation_id = await api.dialogue()
    status, answer = await api.get(f"/ai/conversations/{conversation_id}/context")
    assert (status, answer["data"]) == (
        200,
        {"sessionId": session_id_of(conversation_id), "context": [], "currentIntent": None, "slots": {}},
    )


async def test_the_context_is_shown_as_the_api_document_has_it(api: Api) -> None:
    conversation_id = await api.dialogue()
    session: AiSessionDocument = {
        "_id": conversation_id,
        "merchantId": api.merchant_id,
        "accountId": new_id(),
        "contactId": new_id(),
        "sessionId": session_id_of(conversation_id),
        "turns": [
            {"role": "user", "content": "What's the status of my order?", "at": NOW},
            {"role": "assistant", "content": "I'd be happy to help! What's your order number?", "at": NOW},
        ],
        "currentIntent": "order_status_query",
        "slots": {"orderId": "12345"},
        "messageIds": [],
        "createdAt": NOW,
        "updatedAt": NOW,
    }
    await api.database["aiSessions"].insert_one({**session})
    _, answer = await api.get(f"/ai/conversations/{conversation_id}/context")
    assert answer["data"] == {
        "sessionId": session["sessionId"],
        "context": [
            {"role": "user", "content": "What's the status of my order?"},
            {"role": "assistant", "content": "I'd be happy to help! What's your order number?"},
        ],
        "currentIntent": "order_status_query",
        "slots": {"orderId": "12345"},
    }


async def test_a_conversation_is_escalated_and_handed_back(api: Api) -> None:
    conversation_id = await api.dialogue(botDue=True, botTurn={"messageId": new_id(), "at": NOW, "since": NOW})
    path = f"/ai/conversations/{conversation_id}"
    status, answer = await api.post(f"{path}/escalate", {"reason": "complex_query"})
    assert status == 200
    shown = answer["data"]
    assert (shown["id"], shown["escalated"]) == (conversation_id, True)
    assert (shown["escalation"]["reason"], shown["escalation"]["by"]) == ("complex_query", api.user_id)
    _, listed = await api.get("/conversations?escalated=true")
    assert [each["escalation"]["reason"] for each in listed["data"]] == ["complex_query"]
    document: Any = await api.database["conversations"].find_one({"_id": conversation_id})
    assert "botDue" not in document
    await api.database["conversations"].update_one({"_id": conversation_id}, {"$set": {"personAnsweredAt": NOW}})

    status, answer = await api.post(f"{path}/hand-back")
    assert (status, answer["data"]["escalated"], answer["data"]["escalation"]) == (200, False, None)
    document = await api.database["conversations"].find_one({"_id": conversation_id})
    assert document["personAnsweredAt"] is None
    assert (await api.get("/conversations?escalated=true"))[1]["data"] == []


async def test_a_closed_conversation_is_neither_escalated_nor_handed_back(api: Api) -> None:
    path = f"/ai/conversations/{await api.dialogue(status='closed')}"
    for action, body in (("escalate", {"reason": "complex_query"}), ("hand-back", None)):
        status, answer = await api.post(f"{path}/{action}", body)
        assert (status, answer["code"]) == (409, "DUPLICATE_RESOURCE")


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": " "}, {"reason": "x" * 201}, {"reason": None}])
async def test_an_escalation_needs_a_reason(api: Api, body: object) -> None:
    status, answer = await api.post(f"/ai/conversations/{await api.dialogue()}/escalate", body)
    assert (status, answer["details"]["field"]) == (422, "reason")


@pytest.mark.parametrize(
    ("method", "action", "body"),
    [
        ("POST", "message", {"message": "hello"}),
        ("GET", "context", None),
        ("POST", "escalate", {"reason": "complex_query"}),
        ("POST", "hand-back", None),
    ],
)
async def test_a_conversation_that_is_not_there_is_unknown(api: Api, method: str, action: str, body: object) -> None:
    status, answer = await api.call(method, f"/ai/conversations/{new_id()}/{action}", json=body)
    assert (status, answer["code"]) == (404, "RESOURCE_NOT_FOUND")


async def test_settings_are_as_they_are_by_default_until_something_is_set(api: Api) -> None:
    status, answer = await api.get("/ai/settings")
    assert (status, answer["data"]) == (200, DEFAULTS)


async def test_the_settings_of_the_api_document_are_taken_and_the_rest_stays(api: Api) -> None:
    status, answer = await api.put("/ai/settings", SETTINGS)
    assert status == 200
    assert answer["data"] == DEFAULTS | SETTINGS | {"updatedAt": answer["data"]["updatedAt"]}
    assert answer["data"]["updatedAt"].endswith("Z")
    account_id = await api.account()
    more = {"escalationWords": ["lawyer"], "dailyTokenBudget": 100_000, "accountIds": [account_id]}
    _, answer = await api.put("/ai/settings", more)
    assert answer["data"] == DEFAULTS | SETTINGS | more | {"updatedAt": answer["data"]["updatedAt"]}
    _, answer = await api.put("/ai/settings", {"escalationWords": [], "dailyTokenBudget": None})
    assert (answer["data"]["escalationWords"], answer["data"]["dailyTokenBudget"]) == ([], None)
    assert answer["data"]["accountIds"] == [account_id]
    assert (await api.get("/ai/settings"))[1]["data"] == answer["data"]
    _, answer = await api.other_merchant().get("/ai/settings")
    assert answer["data"] == DEFAULTS


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"enabled": "yes"}, "enabled"),
        ({"model": ""}, "model"),
        ({"model": "two words"}, "model"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"maxTokens": 0}, "maxTokens"),
        ({"maxTokens": 4097}, "maxTokens"),
        ({"maxTokens": 1.5}, "maxTokens"),
        ({"autoEscalationThreshold": 1.1}, "autoEscalationThreshold"),
        ({"autoEscalationThreshold": -1}, "autoEscalationThreshold"),
        ({"systemPrompt": "x" * 8001}, "systemPrompt"),
        ({"escalationWords": [" "]}, "escalationWords.0"),
        ({"escalationWords": ["x" * 101]}, "escalationWords.0"),
        ({"humanSilenceSeconds": -1}, "humanSilenceSeconds"),
        ({"dailyTokenBudget": -1}, "dailyTokenBudget"),
        ({"respectBusinessHours": 1}, "respectBusinessHours"),
        ({"answerDelaySeconds": 61}, "answerDelaySeconds"),
        ({"accountIds": ["nobody's"]}, "accountIds.0"),
        ({"apiKey": "sk-1"}, "apiKey"),
    ],
)
async def test_settings_that_make_no_sense_are_refused(api: Api, body: dict[str, object], field: str) -> None:
    status, answer = await api.put("/ai/settings", body)
    assert (status, answer["code"], answer["details"]["field"]) == (422, "VALIDATION_ERROR", field)
    assert (await api.get("/ai/settings"))[1]["data"] == DEFAULTS


async def test_an_account_of_another_merchant_is_no_account(api: Api) -> None:
    foreign = await api.other_merchant().account()
    status, answer = await api.put("/ai/settings", {"accountIds": [foreign]})
    assert (status, answer["details"]["field"]) == (422, "accountIds.0")
