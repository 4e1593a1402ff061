"""Where events of merchants may be sent: public https addresses, whose receivers can check what comes in."""

from __future__ import annotations

from domain.public_links import LinkRefused, link_of


def check_address(url: str, *, private_allowed: bool) -> None:
    """Look at an endpoint's address without resolving its name; `private_allowed` is for tests and development.

    Raises:
        LinkRefused: when nothing may be sent there.
    """
    link = link_of(url, private_allowed=private_allowed)
    if link.scheme != "https" and not private_allowed:
        raise LinkRefused("must be an https address")
