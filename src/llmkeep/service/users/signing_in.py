"""The ways to sign in, one of which a service has, and FastAPI's dependencies for its user.

| mode    | who somebody is               | who is an administrator                                |
|---------|-------------------------------|--------------------------------------------------------|
| `none`  | `local`, on this machine      | everybody                                              |
| `token` | the holder of a bearer token  | where beside the token stands `"administrator": true`  |
| `jwt`   | `SERVICE__JWT_USER_CLAIM`     | where `SERVICE__JWT_ADMINISTRATOR_CLAIM` says so       |
| `proxy` | the header of a trusted proxy | whom `SERVICE__ADMINISTRATORS` names                   |

In all of them `SERVICE__ADMINISTRATORS` names further ones.
"""

from __future__ import annotations

import ipaddress
from typing import Annotated, Final, Protocol

from fastapi import Depends, Security
from fastapi.security import HTTPBearer
from starlette.requests import HTTPConnection

from llmkeep.service.errors import Forbidden
from llmkeep.service.observability.requests import tell_user
from llmkeep.service.records import Principal
from llmkeep.settings import ServiceSettings, SettingsError

from .credentials import nobody


class SignIn(Protocol):
    """A way to sign in."""

    async def user_of(self, connection: HTTPConnection) -> Principal:
        """Who sent this request.

        Raises Unauthorized, whose headers challenge the client, and Unavailable where it cannot be
        told just now.
        """


def make_sign_in(settings: ServiceSettings) -> SignIn:
    """The way to sign in that the settings name.

    Raises SettingsError where something is missing for it, which names the variable.
    """
    match settings.sign_in:
        case "none":
            return Everybody()
        case "token":
            from .tokens import TokenSignIn

            return TokenSignIn.from_settings(settings)
        case "jwt":
            from .jwts import JWTSignIn

            return JWTSignIn(settings)
        case "proxy":
            from .proxy import ProxySignIn

            return ProxySignIn(settings)


def check_exposure(host: str, settings: ServiceSettings) -> None:
    """Refuse to listen where others reach it, without a way to sign in.

    Raises SettingsError.
    """
    if settings.sign_in == "none" and not is_loopback(host):
        raise SettingsError(
            f"SERVICE__SIGN_IN: others reach {host!r:.80}, so it has to be token, jwt or proxy; "
            "without it the service listens on 127.0.0.1 alone"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it. A name is taken for what it says."""
    if host.lower() == "localhost":
        return True
    try:
        return _address(host).is_loopback
    except ValueError:
        return False


class Everybody:
    """No sign-in: whoever reaches this machine's own address is the user `local`.

    Said again for each request, since whoever starts the application with a server of his own may
    have it listen anywhere.
    """

    async def user_of(self, connection: HTTPConnection) -> Principal:
        """`local`, an administrator."""
        server = connection.scope.get("server")
        if server and _is_foreign(server[0]):
            raise nobody(
                "the service is reached from elsewhere without a way to sign in: its operator has "
                "to set SERVICE__SIGN_IN"
            )
        return Principal(user="local", is_administrator=True)


def _is_foreign(host: str) -> bool:
    """Whether it is an address, and not this machine's own; a socket file or a name is none."""
    try:
        return not _address(host).is_loopback
    except ValueError:
        return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address, an IPv4 one also where it comes dressed as IPv6."""
    address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


_bearer: Final = HTTPBearer(auto_error=False, description="A bearer token, or a JWT.")


async def signed_in(
    connection: HTTPConnection, _documented: Annotated[object, Security(_bearer)]
) -> Principal:
    """The user who asks, by the application's way to sign in (`app.state.sign_in`).

    A FastAPI dependency. Raises Unauthorized.
    """
    sign_in: SignIn = connection.app.state.sign_in
    who = await sign_in.user_of(connection)
    tell_user(connection.scope, who.user)
    return who


async def administrator(who: Annotated[Principal, Depends(signed_in)]) -> Principal:
    """The same, an administrator.

    Raises Unauthorized and Forbidden.
    """
    if not who.is_administrator:
        raise Forbidden("only administrators may do this: see SERVICE__ADMINISTRATORS")
    return who
