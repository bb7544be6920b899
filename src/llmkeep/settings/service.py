"""Settings of the service: `SERVICE__...`."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, StringConstraints
from pydantic_settings import NoDecode

from .checked import Section
from .tokens import TokenHolder, Tokens, tokens_in
from .values import Name, Names, Seconds, listed

#: The shortest secret that cannot be guessed, in characters.
MIN_JWT_SECRET_LENGTH: Final = 32


def _jwt_secret(secret: SecretStr) -> SecretStr:
    if len(secret.get_secret_value().encode()) < MIN_JWT_SECRET_LENGTH:
        raise ValueError(f"it has at least {MIN_JWT_SECRET_LENGTH} characters")
    return secret


def _key_set_address(address: str) -> str:
    """Keys that come over an open network sign in whoever can change them on their way."""
    parts = urlsplit(address)
    is_near = parts.hostname in ("localhost", "127.0.0.1", "::1")
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_near)
    if not parts.hostname or parts.username is not None or not is_safe:
        raise ValueError("it is the https address of a key set (http on this machine alone)")
    return address


def _origin(origin: str) -> str:
    """An origin as a browser sends it."""
    parts = urlsplit(origin.rstrip("/").lower())
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
        raise ValueError("an origin is a scheme and a host: https://chat.example.org")
    return f"{parts.scheme}://{parts.netloc}"


def _network(value: object) -> object:
    return ip_network(value) if isinstance(value, str) else value


Networks = Annotated[
    tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)], ...],
    NoDecode,
    BeforeValidator(listed),
]
Origins = Annotated[
    tuple[Annotated[Name, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(listed)
]
# fmt: off
JWTAlgorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA",
]
# fmt: on
JWTAlgorithms = Annotated[tuple[JWTAlgorithm, ...], NoDecode, BeforeValidator(listed)]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
]


class ServiceSettings(Section):
    """Where the service listens, who may use it, and how much."""

    prefix: ClassVar[tuple[str, ...]] = ("SERVICE",)

    data_dir: Path | None = None
    """Where everything is kept. None: `llmkeep/service` in the user's own data folder."""

    host: Name = "127.0.0.1"
    """The address to listen on. One that others reach needs a way to sign in."""

    port: int = Field(default=8000, ge=0, le=65535)
    """0: any that is free, which is printed."""

    models: Names = ()
    """Models to choose from, `model` or `provider:model` each; the first is the default.

    Empty: the agents' default model alone.
    """

    # --- who may use it ---

    sign_in: Literal["none", "token", "jwt", "proxy"] = "none"
    """How users say who they are. `none`: everybody is one user, on this machine alone."""

    administrators: Names = ()
    """Users who may clear the cache, beside those whose token or JWT says so."""

    tokens: Tokens = Field(default_factory=dict, repr=False)
    """Bearer tokens, in JSON: `{"<token>": {"user": "<name>", "administrator": false}}`."""

    tokens_file: Path | None = None
    """A file with such tokens, beside those of `tokens`; read at start."""

    jwt_secret: Annotated[SecretStr, AfterValidator(_jwt_secret)] | None = None
    """What the issuer signs with, if it is a secret; else `jwt_jwks_url`."""

    jwt_jwks_url: Annotated[Name, AfterValidator(_key_set_address)] | None = None
    """Where the issuer's public keys are."""

    jwt_issuer: Name | None = None
    """Who must have issued it (`iss`). None: whoever has the key."""

    jwt_audience: Name | None = None
    """For whom it must have been issued (`aud`); needed with keys. None: for nobody."""

    jwt_algorithms: JWTAlgorithms = ()
    """How it may be signed. Empty: HS256 with a secret; RS256, ES256 and EdDSA with keys."""

    jwt_user_claim: Name = "sub"
    """The claim that names the user."""

    jwt_administrator_claim: Name | None = None
    """The claim that makes an administrator: `admin`, which is true, or `roles=keeper`, which is
    `keeper` or a list with it."""

    proxy_header: Annotated[Name, StringConstraints(pattern=r"^[A-Za-z0-9-]+$")] = (
        "X-Forwarded-User"
    )
    """The header in which a proxy that signs users in names them."""

    proxy_addresses: Networks = ()
    """Addresses or networks of that proxy: nobody else's header is believed."""

    # --- what is let in ---

    allowed_hosts: Names = ()
    """Names under which the service is reached, beside this machine's own: `chat.example.org`,
    `*.example.org`, or `*` for any."""

    allowed_origins: Origins = ()
    """Pages from elsewhere that may use it: `https://app.example.org`."""

    max_body_bytes: int = Field(default=4 * 2**20, ge=1024)
    """The largest request; clients send the whole conversation."""

    # --- how much a user may do ---

    requests_per_minute: int = Field(default=60, ge=1)
    """Messages sent, and whatever else is changed; reading is not counted."""

    concurrent_runs: int = Field(default=4, ge=1)
    """Runs at a time, those that wait for their turn included."""

    message_characters: int = Field(default=32_000, ge=1)
    """The longest message."""

    tokens_per_day: int | None = Field(default=None, ge=1)
    """Tokens of a day, in UTC, after which no run starts. None: no limit."""

    # --- runs ---

    run_timeout: Seconds = 600.0
    """Seconds that one run may take."""

    undo_seconds: float = Field(default=30.0, ge=0, allow_inf_nan=False)
    """Seconds in which a deleted thread can be restored."""

    log_keep_seconds: float = Field(default=900.0, ge=0, allow_inf_nan=False)
    """Seconds after its end for which a run's events are kept; its messages stay."""

    drain_seconds: float = Field(default=20.0, ge=0, allow_inf_nan=False)
    """Seconds that runs get to end when the server is told to."""

    # --- what it tells ---

    log_level: LogLevel = "info"
    """The least that is logged."""

    log_format: Literal["json", "console"] | None = None
    """None: for people on a terminal, JSON elsewhere."""

    def folder(self) -> Path:
        """Where everything is kept."""
        if self.data_dir is not None:
            return self.data_dir.expanduser().absolute()
        import platformdirs

        return platformdirs.user_data_path("llmkeep", appauthor=False) / "service"

    def all_tokens(self) -> dict[SecretStr, TokenHolder]:
        """The tokens, those of the file included.

        Raises SettingsError where that cannot be read.
        """
        file = self.tokens_file
        return self.tokens if file is None else self.tokens | tokens_in(file)
