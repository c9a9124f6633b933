"""Who counts as one where the API bounds what each may have: all addresses that one host can choose among."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network
from typing import Final

HOST_PREFIX_BITS: Final = 64
"""The part of an IPv6 address that a network gives; a host makes up the rest as it likes (RFC 4291, 2.5.1)."""


def origin_of(address: str) -> str:
    """Return an IPv4 address as it is, the network of an IPv6 address, and anything else, such as "", as it is."""
    if ":" not in address:
        return address
    try:
        found = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((found, HOST_PREFIX_BITS), strict=False))
