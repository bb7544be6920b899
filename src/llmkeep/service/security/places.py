"""From where a request may come: the names of the service, and the pages that may use it.

A page from anywhere can send requests to a service on its reader's machine. The browser says from
where, in `Origin`, and for a name that has been made to point here (DNS rebinding), in `Host`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final, NamedTuple

from llmkeep.service.errors import Forbidden
from llmkeep.settings import ServiceSettings

_PORTS: Final[Mapping[str, str]] = {"http": "80", "https": "443"}


class Hosts:
    """The names under which the service may be reached.

    This machine's own, with any port; those of `SERVICE__ALLOWED_HOSTS`; and, where it listens
    beyond this machine, any address: an address cannot be made to point elsewhere.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        names = [name.lower() for name in settings.allowed_hosts]
        self._any: Final = "*" in names
        self._names: Final = frozenset(name for name in names if not name.startswith("*"))
        self._suffixes: Final = tuple(name[1:] for name in names if name.startswith("*."))
        self._is_near: Final = _is_own(settings.host)

    def check(self, host: str) -> None:
        """Raise Forbidden for a name that is not the service's."""
        name = split_host(host).name
        if self._any or _is_own(name) or name in self._names or host.lower() in self._names:
            return
        if name.endswith(self._suffixes) or (not self._is_near and _is_address(name)):
            return
        raise Forbidden(
            "the service is not known by this name: its operator can add it to "
            "SERVICE__ALLOWED_HOSTS",
            code="host_not_allowed",
        )


class Origins:
    """The pages that may use the service: its own, and those of `SERVICE__ALLOWED_ORIGINS`."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._allowed: Final = frozenset(settings.allowed_origins)

    def check(self, origin: str, host: str) -> bool:
        """Raise Forbidden for another page, `null` included; give whether it is a named one."""
        origin = origin.lower()
        if origin in self._allowed:
            return True
        scheme, _, authority = origin.partition("://")
        if scheme in _PORTS and authority:
            own, theirs = split_host(host), split_host(authority)
            # Behind a proxy that speaks TLS, `Host` has no port and the scheme here is http.
            port = theirs.port or _PORTS[scheme]
            if own.name == theirs.name and (own.port or _PORTS[scheme]) == port:
                return False
        raise foreign()


def foreign() -> Forbidden:
    """What another page is told."""
    return Forbidden(
        "a page from elsewhere may not use the service: its operator can add it to "
        "SERVICE__ALLOWED_ORIGINS",
        code="origin_not_allowed",
    )


class HostAndPort(NamedTuple):
    """The parts of `Host`; no port: the scheme's own."""

    name: str
    port: str


def split_host(host: str) -> HostAndPort:
    """The parts, the name in lower case and an IPv6 address without its brackets."""
    host = host.lower()
    if host.startswith("["):
        name, closing, rest = host[1:].partition("]")
        return HostAndPort(name if closing else host, rest.removeprefix(":"))
    name, _, port = host.partition(":")
    return HostAndPort(name.removesuffix("."), port)


def _is_own(name: str) -> bool:
    """Whether it is this machine, as it calls itself: browsers resolve *.localhost on their own."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    return _is_address(name) and ipaddress.ip_address(name).is_loopback


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
