"""Which links of strangers may be followed, and to which addresses: the public web, and nothing beside it.

A link that somebody gives us must not make us call what only we can reach: this machine, its network, a cloud's
metadata service (OWASP API7:2023, server-side request forgery). What is no plain address of the public web is refused
rather than understood: other programs read decimal, octal and hexadecimal hosts each in their own way.

The address ranges are those of IANA's special-purpose registries (RFC 6890). IPv6 addresses that carry an IPv4 address
(mapped, NAT64, 6to4, Teredo) are refused whatever they carry.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import quote, urljoin, urlsplit

LONGEST_LINK = 2_048
_PORTS = {"http": 80, "https": 443}
_LONGEST_HOST = 253
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
#: A last part that some programs read as a number, and so the whole name as an IPv4 address (WHATWG URL, 3.5).
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")
#: What stays as it is in a path and a query; everything else is percent-encoded.
_SAFE = "/?%:@!$&'()*+,;=-._~[]"
#: Names that lead to this machine or its network whatever DNS says (RFC 6761, 6762, 8375).
_LOCAL_NAMES = frozenset({"localhost", "local", "localdomain", "internal", "home", "lan", "arpa", "onion"})

_PRIVATE_V4 = tuple(
    ip_network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carriers' address translation
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
#: Only this block is handed out to the public, and not the whole of it.
_PUBLIC_V6 = ip_network("2000::/3")
_PRIVATE_V6 = tuple(
    ip_network(block)
    for block in (
        "2001::/23",  # protocol assignments, Teredo, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "3fff::/20",  # documentation
    )
)

Address: TypeAlias = IPv4Address | IPv6Address


class LinkRefused(Exception):
    """A link is not followed; the text says why, fit for whoever gave it."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link that may be followed; `address` is there where its host is one, else its name is still to be resolved."""

    scheme: str
    host: str
    port: int
    target: str
    address: Address | None = None

    @property
    def url(self) -> str:
        """Return the link in its one form, percent-encoded."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.target}"


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the public internet."""
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _PRIVATE_V4)
    if address.scope_id is not None:
        return False
    return address in _PUBLIC_V6 and not any(address in block for block in _PRIVATE_V6)


def link_of(text: str, *, private_allowed: bool = False) -> Link:
    """Read a link.

    `private_allowed` takes every address, every name and every port, for tests and development.

    Raises:
        LinkRefused: when it is no http or https address, holds a user name, has a port other than 80 or 443, or a host
            that is no public address and no proper name.
    """
    if not text or len(text) > LONGEST_LINK or _FORBIDDEN.search(text):
        raise LinkRefused("must be an http or https address")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise LinkRefused("must be an http or https address") from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise LinkRefused("must be an http or https address")
    if "@" in parts.netloc:
        raise LinkRefused("must not hold a user name or a password")
    if port is not None and port not in _PORTS.values() and not private_allowed:
        raise LinkRefused("must lead to port 80 or 443")
    host, address = _host(parts.hostname, bracketed="[" in parts.netloc)
    if not private_allowed:
        _check_public(host, address)
    target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_SAFE)
    return Link(parts.scheme, host, _PORTS[parts.scheme] if port is None else port, target, address)


def redirected(link: Link, location: str, *, private_allowed: bool = False) -> Link:
    """Return where an answer sends us, checked like any other link.

    Raises:
        LinkRefused: when that may not be followed, or leads from https back to http.
    """
    if _FORBIDDEN.search(location):
        raise LinkRefused("redirects to what is no address")
    try:
        text = urljoin(link.url, location)
    except ValueError:
        raise LinkRefused("redirects to what is no address") from None
    following = link_of(text, private_allowed=private_allowed)
    if link.scheme == "https" and following.scheme == "http":
        raise LinkRefused("redirects from https to http")
    return following


def checked_addresses(found: list[str], *, private_allowed: bool = False) -> list[Address]:
    """Return what a name was resolved to; one address that is not public spoils them all.

    Raises:
        LinkRefused: when there is none, or one is not public.
    """
    try:
        addresses = [ip_address(each) for each in found]
    except ValueError:
        raise LinkRefused("must lead to a public address") from None
    if not addresses:
        raise LinkRefused("must have a host that can be found")
    if not private_allowed and not all(map(is_public, addresses)):
        raise LinkRefused("must lead to a public address")
    return addresses


def _host(text: str, *, bracketed: bool) -> tuple[str, Address | None]:
    """Return a host in its one form, and as an address where it is one."""
    if bracketed:
        try:
            address = IPv6Address(text)
        except ValueError:
            raise LinkRefused("must have a proper host") from None
        return str(address), address
    host = _ascii(text)
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            # Four decimal numbers without leading zeros: no other form of an address is understood.
            return host, IPv4Address(host)
        except ValueError:
            raise LinkRefused("must have a proper host") from None
    if len(host) > _LONGEST_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise LinkRefused("must have a proper host")
    return host, None


def _ascii(host: str) -> str:
    try:
        # The codec also makes plain digits and dots of their look-alikes, so that they are judged as what they are.
        encoded = host.encode("idna").decode() if not host.isascii() else host
    except UnicodeError:
        raise LinkRefused("must have a proper host") from None
    return encoded.lower().removesuffix(".")


def _check_public(host: str, address: Address | None) -> None:
    if address is not None:
        if not is_public(address):
            raise LinkRefused("must lead to a public address")
    elif "." not in host or host.rsplit(".", 1)[-1] in _LOCAL_NAMES:
        raise LinkRefused("must lead to a public address")
