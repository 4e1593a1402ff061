"""What travels to a host's process and makes its services there; whoever sends it need not load what they need."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from actors.webhook_events import WebhookEvents
from config.settings import Settings

if TYPE_CHECKING:
    from actors.runtime.ray_host import HostServices


class MakeServices:
    """Makes the services of a host in the host's own process."""

    def __init__(self, settings: Settings, version: str, webhooks: WebhookEvents | None = None) -> None:
        self.settings = settings
        self.version = version
        self._webhooks = webhooks

    def __call__(self, index: int, hosts: int) -> HostServices:
        """Make the services of the host with this index."""
        # Nothing of what is loaded is garbage: looking for it takes a tenth of the time.
        gc.disable()
        try:
            from actors.host_services import Services  # noqa: PLC0415  # costs most of a second, in hosts alone
        finally:
            gc.enable()
        return Services(self.settings, index, hosts, self._webhooks)
