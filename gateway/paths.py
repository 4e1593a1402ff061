"""Where things are on this server."""

from __future__ import annotations

from typing import Final

#: What the path of every operation of the API begins with (section "Base URL" of the API document).
API: Final = "/api/v1/mkt-x"
