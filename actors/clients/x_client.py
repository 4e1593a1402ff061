"""The X API for one connected account, over tweepy (x-api, parts 3 to 5).

tweepy's endpoint methods are used as they are; only the way a request is made is ours: it goes to the configured
address and is signed for that very address, over one shared session, with a timeout, without waiting for limits,
and without headers in any log.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from urllib.parse import quote, urlencode

import aiohttp
from oauthlib.oauth1 import Client as OAuth1
from tweepy.asynchronous import AsyncClient

from actors.clients.x_media import MediaFile, upload
from actors.clients.x_models import SentMessage, XMessage, XUser
from actors.clients.x_transport import JsonObject, XAnswer, XApiError, XRequest, XTransport
from config.settings import Settings
from domain.clock import Clock
from domain.errors import InvalidContent
from domain.outgoing_content import OutgoingContent
from domain.x_fields import as_object, written_time, x_id

# Below this level oauthlib writes tokens and signatures into the log.
logging.getLogger("oauthlib").setLevel(logging.INFO)

LISTED_AT_ONCE = 100
_MOST_PAGES = 10


class XClient(AsyncClient):
    """X as one account sees it; every method raises `XApiError` when X does not do what it was asked to.

    Cheap to make, keeps nothing between calls, and may be used by several tasks at once. `session` is shared and is
    closed by whoever opened it.
    """

    def __init__(
        self, settings: Settings, session: aiohttp.ClientSession, clock: Clock, *, token: str, secret: str
    ) -> None:
        super().__init__(
            consumer_key=settings.x_consumer_key,
            consumer_secret=settings.x_consumer_secret.get_secret_value(),
            access_token=token,
            access_token_secret=secret,
            # tweepy then hands back what `request` returns, with its headers.
            return_type=aiohttp.ClientResponse,
        )
        self._transport = XTransport(settings, session, clock)
        self._base_url = settings.x_api_base_url
        self._upload_base_url = settings.upload_base_url

    async def request(
        self,
        method: str,
        route: str,
        params: Mapping[str, object] | None = None,
        json: object = None,
        user_auth: bool = True,
    ) -> XAnswer:
        """Make one signed call, in place of tweepy's own way; the app's bearer token is XApp's, not an account's."""
        if not user_auth:
            raise ValueError("an account's client signs every call with the account's tokens")
        return await self._call(method, self._base_url + route, params=params, json=json, send=_is_send(method, route))

    async def me(self) -> XUser:
        """Return the account that the tokens belong to."""
        answer: XAnswer = await self.get_me(user_fields=["profile_image_url"])
        user = answer.data()
        user_id, username = x_id(user.get("id")), user.get("username")
        if not user_id or not isinstance(username, str):
            raise answer.unreadable()
        return XUser(user_id, username, _text(user.get("name")), _text(user.get("profile_image_url")))

    async def send_message(self, participant_id: str, content: OutgoingContent) -> SentMessage:
        """Send one direct message, once: no call is ever repeated here.

        Quick replies and buttons exist only in v1.1 of X's API; without them the message goes through v2.

        Raises:
            XApiError: whose `failure` tells a refusal from an outcome that isn't known.
        """
        _check_id(participant_id)
        if content.options or content.buttons:
            return await self._send_v1(participant_id, _message_data(content))
        answer: XAnswer = await self.create_direct_message(
            participant_id=participant_id, text=content.text or None, media_id=content.media_id
        )
        data = answer.data()
        event_id = x_id(data.get("dm_event_id"))
        if not event_id:
            raise answer.unreadable()
        return SentMessage(event_id, _text(data.get("dm_conversation_id")), answer.limits())

    async def _send_v1(self, participant_id: str, message_data: JsonObject) -> SentMessage:
        message = {"target": {"recipient_id": participant_id}, "message_data": message_data}
        answer = await self.request(
            "POST",
            "/1.1/direct_messages/events/new.json",
            json={"event": {"type": "message_create", "message_create": message}},
        )
        event = as_object(answer.content().get("event"))
        event_id = x_id(event.get("id"))
        sender_id = x_id(as_object(event.get("message_create")).get("sender_id"))
        if not event_id:
            raise answer.unreadable()
        return SentMessage(event_id, _conversation_of(sender_id, participant_id), answer.limits())

    async def messages_with(self, participant_id: str, limit: int) -> list[XMessage]:
        """Return the newest messages of both sides with a person, newest first; X keeps 30 days.

        A page of 100 is one call of X's limit; at most 1,000 are read.
        """
        _check_id(participant_id)
        messages: list[XMessage] = []
        page_token: str | None = None
        for _ in range(_MOST_PAGES):
            answer = await self._page_with(participant_id, min(limit, LISTED_AT_ONCE), page_token)
            content = answer.content()
            events = content.get("data", [])
            if not isinstance(events, list):
                raise answer.unreadable()
            messages.extend(message for event in events if (message := _message_of(as_object(event))))
            page_token = _text(as_object(content.get("meta")).get("next_token")) or None
            if page_token is None or len(messages) >= limit:
                break
        return messages[:limit]

    async def newest_messages(self) -> list[XMessage]:
        """Return the newest 100 messages of all conversations of the account, newest first, with one call."""
        answer = await self._page_with(None, LISTED_AT_ONCE, None)
        events = answer.content().get("data", [])
        if not isinstance(events, list):
            raise answer.unreadable()
        return [message for event in events if (message := _message_of(as_object(event)))]

    async def _page_with(self, participant_id: str | None, size: int, page_token: str | None) -> XAnswer:
        """Ask for one page; who sent a message is a field in X's guides, but only an expansion in its newest schema."""
        fields = ["id", "text", "event_type", "created_at", "dm_conversation_id"]
        try:
            return await self._events_with(participant_id, size, page_token, [*fields, "sender_id"])
        except XApiError as error:
            if error.x_status != HTTPStatus.BAD_REQUEST:
                raise
        return await self._events_with(participant_id, size, page_token, fields)

    async def _events_with(
        self, participant_id: str | None, size: int, page_token: str | None, fields: Sequence[str]
    ) -> XAnswer:
        answer: XAnswer = await self.get_direct_message_events(
            participant_id=participant_id,
            event_types="MessageCreate",
            expansions=["sender_id"],
            dm_event_fields=fields,
            max_results=size,
            pagination_token=page_token,
        )
        return answer

    async def upload_media(self, media: MediaFile) -> str:
        """Upload an attachment and return its id once X can send it; usable for 24 hours by this account only."""
        return await upload(self._upload_call, media)

    async def _upload_call(
        self,
        method: str,
        route: str,
        *,
        params: Mapping[str, object] | None = None,
        json: object = None,
        form: aiohttp.FormData | None = None,
    ) -> XAnswer:
        return await self._call(method, self._upload_base_url + route, params=params, json=json, form=form)

    async def subscribe_to(self, webhook_id: str) -> XAnswer:
        """Ask X to send this account's events to a webhook (Account Activity v2, with the account's own token)."""
        _check_id(webhook_id)
        return await self.request("POST", f"/2/account_activity/webhooks/{webhook_id}/subscriptions/all", json={})

    async def invalidate_token(self) -> None:
        """Revoke the account's tokens, which sign this very call."""
        await self.request("POST", "/1.1/oauth/invalidate_token.json")

    async def _call(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, object] | None = None,
        json: object = None,
        form: aiohttp.FormData | None = None,
        send: bool = False,
    ) -> XAnswer:
        if params:
            # Percent-encoded in full, because oauthlib signs the text of the address as it stands.
            url += "?" + urlencode(params, quote_via=quote)
        signer = OAuth1(self.consumer_key, self.consumer_secret, self.access_token, self.access_token_secret)
        _, headers, _ = signer.sign(url, method, headers={})
        if json is not None:
            headers["Content-Type"] = "application/json"
        return await self._transport.call(XRequest(method, url, headers, json, form, send))


def _is_send(method: str, route: str) -> bool:
    """Say whether a call makes a message, so that its outcome matters when no answer comes."""
    return method == "POST" and route.startswith(("/2/dm_conversations", "/1.1/direct_messages/"))


def _check_id(value: str) -> None:
    """Refuse what is no id of X before it becomes part of an address."""
    if not x_id(value):
        raise InvalidContent("Not an id of X")


def _message_data(content: OutgoingContent) -> JsonObject:
    """Return v1.1's form of a message; an empty description or metadata is left out."""
    data: JsonObject = {"text": content.text}
    if content.media_id is not None:
        data["attachment"] = {"type": "media", "media": {"id": content.media_id}}
    if content.options:
        options = [
            {
                "label": reply.label,
                **({"description": reply.description} if reply.description else {}),
                **({"metadata": reply.metadata} if reply.metadata else {}),
            }
            for reply in content.options
        ]
        data["quick_reply"] = {"type": "options", "options": options}
    if content.buttons:
        data["ctas"] = [{"type": "web_url", "label": each.label, "url": each.url} for each in content.buttons]
    return data


def _conversation_of(one: str, other: str) -> str:
    """Return the id of the conversation of two people: the smaller id, a dash, the larger (x-api, 3.1)."""
    if not (one.isdigit() and other.isdigit()):
        return ""
    return "-".join(sorted((one, other), key=int))


def _message_of(event: JsonObject) -> XMessage | None:
    message_id, text = x_id(event.get("id")), event.get("text", "")
    if not message_id or not isinstance(text, str) or event.get("event_type", "MessageCreate") != "MessageCreate":
        return None
    return XMessage(
        id=message_id,
        sender_id=x_id(event.get("sender_id")),
        text=text,
        created_at=written_time(event.get("created_at")),
        conversation_id=_text(event.get("dm_conversation_id")),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
