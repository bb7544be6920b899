"""The settings tree: one object, read from the environment at import, changeable at run time.

`settings.agents.conversation_handler_temperature` is the environment variable
`AGENTS__CONVERSATION_HANDLER_TEMPERATURE`, and so on for every field. A changed setting takes
effect with the next handler. What belongs to a provider (`OPENAI_API_KEY`, `OPENAI_BASE_URL` ...)
is not here: those variables mean what they mean elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from llmkeep.core.errors import LLMKeepError

try:
    from pydantic import (
        AfterValidator,
        BaseModel,
        BeforeValidator,
        ConfigDict,
        Field,
        SecretStr,
        StringConstraints,
        TypeAdapter,
        ValidationError,
    )
    from pydantic.fields import FieldInfo
    from pydantic_settings import (
        BaseSettings,
        EnvSettingsSource,
        NoDecode,
        PydanticBaseSettingsSource,
        SettingsConfigDict,
    )
except ImportError as missing:
    raise ImportError(
        f'{missing.name} is not installed: pip install "llmkeep[agents]"', name=missing.name
    ) from None

_DELIMITER: Final = "__"

#: Fields with credentials in them: what came is not shown.
_SECRET_FIELDS: Final = frozenset({"mcp_servers", "tokens", "jwt_secret", "jwt_jwks_url"})

#: The shortest credentials that cannot be guessed, in characters.
MIN_TOKEN_LENGTH: Final = 16
MIN_JWT_SECRET_LENGTH: Final = 32

#: The longest name of a user, in characters.
MAX_USER_LENGTH: Final = 128

#: Servers of the model context protocol by name, as `langchain-mcp-adapters` takes them.
Servers = dict[str, dict[str, Any]]


def _listed(value: object) -> object:
    """The parts of a text, which is a JSON list or is parted by commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return _read(value)
    return [part.strip() for part in value.split(",") if part.strip()]


def _read(value: object) -> object:
    """What a text holds as JSON; nothing, if it is empty."""
    if not isinstance(value, str):
        return value
    if not value.strip():
        return {}
    try:
        return json.loads(value)
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from None


def _checked_servers(servers: Servers) -> Servers:
    for name, server in servers.items():
        if not server.keys() & {"command", "url"}:
            raise ValueError(f"the server {name!r:.80} has neither a command nor a url")
    return servers


def _user(name: str) -> str:
    if not (1 <= len(name) <= MAX_USER_LENGTH and name.isprintable()):
        raise ValueError(f"a user's name has 1 to {MAX_USER_LENGTH} printable characters")
    return name


class TokenHolder(BaseModel):
    """Whom a bearer token signs in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: Annotated[str, AfterValidator(_user)]
    administrator: bool = False


_TOKENS_SHAPE: Final = 'it is {"<token>": {"user": "<name>", "administrator": false}, ...}'


def _tokens(value: object) -> object:
    """What is wrong with them, in words that quote none: they are the keys of the mapping."""
    value = _read(value)
    if not isinstance(value, Mapping):
        raise ValueError(_TOKENS_SHAPE)  # noqa: TRY004 - pydantic lets a TypeError pass
    for token, holder in value.items():
        text = token.get_secret_value() if isinstance(token, SecretStr) else str(token)
        is_sendable = text.isascii() and text.isprintable() and " " not in text
        if not is_sendable or len(text) < MIN_TOKEN_LENGTH:
            raise ValueError(
                f"a token has at least {MIN_TOKEN_LENGTH} characters, printable ASCII and no space"
            )
        try:
            TokenHolder.model_validate(holder)
        except ValidationError:
            raise ValueError(_TOKENS_SHAPE) from None
    return value


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


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
BuiltinTool = Literal["calculator", "current_time", "notes"]

# NoDecode: the source reads lists as JSON alone, and answers bad JSON in words of its own.
Names = Annotated[tuple[Name, ...], NoDecode, BeforeValidator(_listed)]
BuiltinTools = Annotated[tuple[BuiltinTool, ...], NoDecode, BeforeValidator(_listed)]
Networks = Annotated[
    tuple[Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)], ...],
    NoDecode,
    BeforeValidator(_listed),
]
Origins = Annotated[
    tuple[Annotated[Name, AfterValidator(_origin)], ...], NoDecode, BeforeValidator(_listed)
]
# fmt: off
JWTAlgorithm = Literal[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA",
]
# fmt: on
JWTAlgorithms = Annotated[tuple[JWTAlgorithm, ...], NoDecode, BeforeValidator(_listed)]
Tokens = Annotated[dict[SecretStr, TokenHolder], NoDecode, BeforeValidator(_tokens)]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"],
    BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value),
]
MCPServers = Annotated[Servers, NoDecode, BeforeValidator(_read), AfterValidator(_checked_servers)]


class SettingsError(LLMKeepError, ValueError):
    """A setting has a wrong value; the message starts with its environment variable's name."""


class _Checked:
    """An assignment is validated like the environment is, and refused in the same words."""

    prefix: ClassVar[tuple[str, ...]] = ()

    def __setattr__(self, name: str, value: Any) -> None:
        try:
            super().__setattr__(name, value)
        except ValidationError as error:
            raise _refusal(error, *self.prefix) from None


class _Section(_Checked, BaseModel):
    """A branch of the tree."""

    # Unknown names are let pass: an application may keep settings of its own in LLM__...
    model_config = ConfigDict(validate_assignment=True, extra="ignore", protected_namespaces=())


class LLMSettings(_Section):
    """Which models are used where nothing else says so."""

    prefix: ClassVar[tuple[str, ...]] = ("LLM",)

    default_provider: Name = "openai"
    """The provider of every model that is named without one."""

    base_url: Name | None = None
    """The address of an OpenAI-compatible server, for the default provider's models alone.

    None: the provider's own, or what its own variable (`OPENAI_BASE_URL` ...) says.
    """


class AgentSettings(_Section):
    """What agents are made of."""

    prefix: ClassVar[tuple[str, ...]] = ("AGENTS",)

    conversation_handler_default_model: Name | None = None
    """`model` or `provider:model`. None: a small current model of the default provider."""

    conversation_handler_temperature: float | None = Field(default=None, ge=0, le=2)
    """None: the provider's own default."""

    max_steps: int = Field(default=50, ge=2)
    """How many steps one answer may take; asking the model is one, each round of tools another."""

    tools: Names = ()
    """Tools of one's own, `package.module:name` each: by commas, or a JSON list."""

    builtin_tools: BuiltinTools = ("calculator", "current_time", "notes")
    """Which of ours there are: by commas, or a JSON list. `notes` needs a `db_session`."""

    mcp_servers: MCPServers = Field(default_factory=dict, repr=False)
    """Servers whose tools there are too, by name, in JSON: each has a `command` or a `url`."""

    approve_tools: Names = ()
    """Tools that need approval, beside those marked in code; `*` is every tool."""

    approval_timeout: Seconds = 86400.0
    """Seconds after which a call that waits for approval counts as declined."""

    tool_timeout: Seconds = 60.0
    """Seconds that one call of a tool may take."""

    tool_threads: int = Field(default=32, ge=1)
    """Threads for synchronous tools; a call that finds all of them busy fails as busy."""

    context_tokens: int | None = Field(default=None, ge=1)
    """How many tokens a model can read. None: what its profile says, else 8,192."""

    context_strategy: Literal["trim", "summarize"] = "trim"
    """What is done with a conversation that grows longer than that."""


class ServiceSettings(_Section):
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
        return self.tokens if file is None else self.tokens | _tokens_in(file)


def _tokens_in(file: Path) -> dict[SecretStr, TokenHolder]:
    try:
        text = file.expanduser().read_text(encoding="utf-8")
        return TypeAdapter[dict[SecretStr, TokenHolder]](Tokens).validate_python(text)
    except OSError as error:
        why = f"{file} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        why = f"{file} is not UTF-8"
    except ValidationError as error:
        why = f"in {file}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
    raise SettingsError(f"SERVICE__TOKENS_FILE: {why}")


class _Variables(EnvSettingsSource):
    """The environment, leaf by leaf: a variable named just `LLM` or `AGENTS` is somebody else's."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False


class Settings(_Checked, BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_nested_delimiter=_DELIMITER, extra="ignore", validate_assignment=True
    )

    llm: LLMSettings = Field(default_factory=LLMSettings)
    agents: AgentSettings = Field(default_factory=AgentSettings)
    service: ServiceSettings = Field(default_factory=ServiceSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_others: PydanticBaseSettingsSource,
        **_more: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment; no files."""
        return init_settings, _Variables(settings_cls)


def load() -> Settings:
    """A new tree from the environment.

    Raises SettingsError, one line, for the first wrong value.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError, *prefix: str) -> SettingsError:
    """One line for the first thing that is wrong: the variable, what was expected, what came."""
    first = error.errors(include_url=False)[0]
    place = [*prefix, *map(str, first["loc"])]
    variable, inside = place[:2], place[2:]
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if inside and variable[-1] != "tokens":  # a token is the name of its own place
        message = f"at {'.'.join(inside):.80}: {message}"
    return SettingsError(f"{_DELIMITER.join(variable).upper()}: {message}{_shown(place, first)}")


def _shown(place: list[str], first: Mapping[str, Any]) -> str:
    """What came, where no credential can be in it."""
    value = first["input"]
    if _SECRET_FIELDS.isdisjoint(place) and isinstance(value, str | int | float | None):
        return f", got {value!r:.80}"
    return "" if first["type"] == "value_error" else f", got a {type(value).__name__}"


settings: Final = load()
