"""Where a webhook may lead: never to a machine's own services or a private network, unless the suite says so."""

import ipaddress
import socket

from analyzers.errors import Failed

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = ("168.63.129.16", "100.100.100.200", "192.0.0.192", "fd00:ec2::254", "fd20:ce::254")
"""Services of clouds that give away credentials and are not link-local, which all others are."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def addresses_of(host: str, port: int, *, allow_private: bool) -> list[str] | Failed:
    """The addresses of a host, each checked; Failed where there is none or any of them may not be spoken to.

    The caller connects to what this returns and asks no name server again, which could then answer otherwise.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return Failed("webhook", f"the host {host!r} is not known to the name server")
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        refused = refusal(ipaddress.ip_address(address), allow_private=allow_private)
        if refused is not None:
            return Failed("webhook", f"{host!r} is {refused}")
    return addresses


def refusal(address: Address, *, allow_private: bool) -> str | None:
    """What speaks against an address; None where nothing does."""
    inner = _embedded(address)
    if inner is not None:
        return refusal(inner, allow_private=allow_private)
    if address.is_link_local or str(address) in _METADATA:
        return f"{address}, a link-local or metadata address, which is never spoken to"
    if address.is_multicast or address.is_unspecified or (address.is_reserved and not address.is_loopback):
        return f"{address}, which is no address of one machine"
    if not address.is_global and not allow_private:
        return f"{address}, an address of this machine or of a private network; set allow_private = true where that is meant"
    return None


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one stands for."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
