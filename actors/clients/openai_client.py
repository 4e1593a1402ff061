"""OpenAI's own client, which carries the calls. It is loaded where a model server is set, for it takes 14 MB."""

from __future__ import annotations

import openai
from openai import AsyncOpenAI

from actors.clients.model_dialect import Dialect
from actors.clients.model_failures import ModelFailed, ModelFailureKind, ModelRefusal
from actors.clients.model_wire import ModelRequest, fields_of, message_of
from config.settings import Settings

_URL = "https://api.openai.com/v1"


class OpenAIClient:
    """The connections to one model server."""

    def __init__(self, settings: Settings) -> None:
        self._client = AsyncOpenAI(
            base_url=settings.openai_base_url or _URL,
            # Servers that are run by oneself often want no key; the client wants one.
            api_key=settings.openai_api_key.get_secret_value() or "none",
            max_retries=0,
            timeout=settings.openai_timeout_s,
        )
        # Left to itself the client takes these from variables of the environment that are none of our settings.
        self._client.organization = self._client.project = None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def complete(self, request: ModelRequest, dialect: Dialect) -> bytes:
        """Make one call and return the body of its answer.

        Raises:
            ModelRefusal: the server answered with an error.
            ModelFailed: there was no answer.
        """
        try:
            raw = await self._client.chat.completions.with_raw_response.create(
                model=request.model,
                messages=[message_of(message) for message in request.messages],
                extra_body=fields_of(request, dialect),
            )
        except openai.APIStatusError as error:
            raise ModelRefusal(
                error.status_code, error.response.headers, error.message, error.param, error.code
            ) from error
        except openai.APITimeoutError as error:
            raise ModelFailed(ModelFailureKind.TIMEOUT) from error
        except openai.APIError as error:
            raise ModelFailed(ModelFailureKind.UNREACHABLE) from error
        return raw.content
