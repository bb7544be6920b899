"""Sign-in by a proxy in front of the service, which names the user in a header.

Believed from the addresses of that proxy alone, and taken from the connection itself: a server
that rewrites the peer's address from `X-Forwarded-For` (uvicorn's `proxy_headers`) has to leave
that. The proxy has to remove the header from what clients send.
"""

from __future__ import annotations

import ipaddress
from typing import Final

from starlette.requests import HTTPConnection

from llmkeep.service.records import Principal
from llmkeep.settings import ServiceSettings, SettingsError

from .credentials import is_user_name, nobody


class ProxySignIn:
    """Whom a trusted proxy names.

    Raises SettingsError where no proxy is named.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        if not settings.proxy_addresses:
            raise SettingsError(
                "SERVICE__PROXY_ADDRESSES: with SERVICE__SIGN_IN=proxy the proxy's address or "
                "network has to be named: 10.0.0.5, 10.0.0.0/8"
            )
        self._header: Final = settings.proxy_header
        self._networks: Final = settings.proxy_addresses
        self._administrators: Final = frozenset(settings.administrators)

    async def user_of(self, connection: HTTPConnection) -> Principal:
        """The user of the proxy's header."""
        if not self._is_proxy(connection):
            raise nobody(
                "come by way of the proxy that signs users in: its address is not one of "
                "SERVICE__PROXY_ADDRESSES"
            )
        named = connection.headers.getlist(self._header)
        if len(named) != 1:  # two: the proxy's own, and one that a client has sent
            raise nobody(f"the proxy has to name the user, once, in {self._header}")
        # A header's bytes come as Latin-1; proxies write UTF-8.
        try:
            user = named[0].encode("latin-1").decode()
        except UnicodeDecodeError:
            user = ""
        if not is_user_name(user):
            raise nobody(f"{self._header} has to be a name of 1 to 128 printable characters")
        return Principal(user=user, is_administrator=user in self._administrators)

    def _is_proxy(self, connection: HTTPConnection) -> bool:
        if connection.client is None:  # a socket file tells no address
            return False
        try:
            peer = ipaddress.ip_address(connection.client.host.partition("%")[0])
        except ValueError:
            return False
        peer = getattr(peer, "ipv4_mapped", None) or peer
        return any(peer in network for network in self._networks)
