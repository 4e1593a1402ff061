"""Campaigns, and what the actors would have written of them."""

from __future__ import annotations

import secrets
from typing import Any

from domain.ids import new_id
from domain.tracked_links import new_code
from storage.campaign_documents import lane_id, recipient_id
from tests.gateway.conftest import NOW, Api


async def template(api: Api, content: str = "Hi {{name}}, use {{discount_code}}", **fields: object) -> str:
    body = {"name": f"Template {new_id()}", "type": "text", "content": content} | fields
    status, answer = await api.post("/templates", body)
    assert status == 200, answer
    return str(answer["data"]["id"])


async def segment(api: Api) -> str:
    status, answer = await api.post("/segments", {"name": f"Segment {new_id()}", "conditions": []})
    assert status == 200, answer
    return str(answer["data"]["id"])


async def campaign(api: Api, **fields: object) -> dict[str, Any]:
    body: dict[str, object] = {"name": "January Promotion", "type": "promotional"} | fields
    if not {"templateId", "variants"} & body.keys():
        body["templateId"] = await template(api)
    status, answer = await api.post("/campaigns", body)
    assert status == 200, answer
    data: dict[str, Any] = answer["data"]
    return data


async def in_state(api: Api, campaign_id: str, status: str) -> None:
    await api.database["campaigns"].update_one({"_id": campaign_id}, {"$set": {"status": status}})


async def run(api: Api, campaign_id: str, *, total: int = 0, remaining: int = 0, **fields: object) -> str:
    """Return the id of a new run of a campaign, with a lane of one account."""
    changed = await api.database["campaigns"].find_one_and_update(
        {"_id": campaign_id}, {"$inc": {"runs": 1}}, return_document=True
    )
    assert changed is not None
    document = {
        "_id": new_id(),
        "merchantId": api.merchant_id,
        "campaignId": campaign_id,
        "number": changed["runs"],
        "status": "running",
        "dueAt": NOW,
        "startedAt": NOW,
        "endedAt": None,
        "snapshot": {"after": "", "done": True, "total": total},
        "contents": [],
        "variables": {},
        "controlShare": 0.0,
        "estimate": None,
    } | fields
    await api.database["campaignRuns"].insert_one(document)
    await api.database["campaigns"].update_one({"_id": campaign_id}, {"$set": {"runId": document["_id"]}})
    await lane(api, campaign_id, str(document["_id"]), total, remaining)
    return str(document["_id"])


async def lane(api: Api, campaign_id: str, run_id: str, total: int, remaining: int) -> None:
    account_id = new_id()
    await api.database["campaignLanes"].insert_one(
        {
            "_id": lane_id(run_id, account_id),
            "merchantId": api.merchant_id,
            "campaignId": campaign_id,
            "runId": run_id,
            "accountId": account_id,
            "status": "active",
            "total": total,
            "remaining": remaining,
        }
    )


async def counted(
    api: Api, campaign_id: str, run_id: str = "run", *, hour: str = "2026-01-20T10", variant: str = "all", **counts: int
) -> None:
    """Count something: one document of the many that a campaign's counters are in."""
    await api.database["campaignCounts"].insert_one(
        {
            "_id": new_id(),
            "merchantId": api.merchant_id,
            "campaignId": campaign_id,
            "runId": run_id,
            "variant": variant,
            "hour": hour,
            **counts,
        }
    )


async def recipient(api: Api, campaign_id: str, run_id: str, contact_id: str, **fields: object) -> str:
    document = {
        "_id": recipient_id(run_id, contact_id),
        "merchantId": api.merchant_id,
        "campaignId": campaign_id,
        "runId": run_id,
        "accountId": "an-account",
        "contactId": contact_id,
        "variant": "all",
        "status": "sent",
        "reason": None,
        "dueAt": NOW,
        "messageId": new_id(),
        "attempt": 1,
        "createdAt": NOW,
        "sentAt": NOW,
        "openedAt": None,
        "clickedAt": None,
        "repliedAt": None,
        "optedOutAt": None,
        "blockedAt": None,
    } | fields
    await api.database["campaignRecipients"].insert_one(document)
    return str(document["_id"])


async def link(api: Api, recipient_id: str, contact_id: str, **fields: object) -> str:
    """Return the code of a link in the message to a recipient."""
    recipient = await api.database["campaignRecipients"].find_one({"_id": recipient_id})
    assert recipient is not None
    document = {
        "_id": new_code(secrets.token_bytes),
        "merchantId": api.merchant_id,
        "campaignId": recipient["campaignId"],
        "runId": recipient["runId"],
        "recipientId": recipient_id,
        "contactId": contact_id,
        "url": "https://shop.example/sale?item=1",
        "createdAt": NOW,
        "firstClickedAt": None,
    } | fields
    await api.database["trackedLinks"].insert_one(document)
    return str(document["_id"])
