"""The proxies that the environment names, by URL pattern, as httpx reads them.

httpx looks at the environment only where it makes the transport itself, and its own function for
that is private. The rules are those of httpx2 for both libraries: where httpx 0.28 differs
(`*.example.com`, IPv6 networks in `NO_PROXY`) it fails or matches nothing.
"""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.request import getproxies


def environment_proxies(library: Any) -> dict[str, str | None]:
    """URL pattern to proxy address, None for "no proxy"; what cannot be parsed is left out."""
    known = getproxies()
    excepted = [host.strip() for host in known.get("no", "").split(",")]
    if "*" in excepted:
        return {}
    proxies: dict[str, str | None] = {
        f"{scheme}://": address if "://" in address else f"http://{address}"
        for scheme in ("http", "https", "all")
        if (address := known.get(scheme))
    }
    patterns = [pattern for host in excepted if host and (pattern := _pattern(host))]
    return proxies | {pattern: None for pattern in patterns if _is_valid(library, pattern)}


def _pattern(host: str) -> str | None:
    address, _, network = host.partition("/")
    if "://" in host:
        return host
    if (version := _address_version(address)) == 6:
        return f"all://[{address}]/{network}" if network else f"all://[{address}]"
    if version or host.lower() == "localhost" or host.startswith("["):
        return f"all://{host}"
    if network or "/" in host:
        return None
    return f"all://{host}" if host.startswith("*.") else f"all://*{host}"


def _address_version(address: str) -> int | None:
    try:
        return ipaddress.ip_address(address).version
    except ValueError:
        return None


def _is_valid(library: Any, pattern: str) -> bool:
    try:
        library.Client(transport=library.BaseTransport(), mounts={pattern: None})
    except library.InvalidURL:
        return False
    return True
