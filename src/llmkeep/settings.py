"""The settings tree: one object, read from the environment at import, changeable at run time.

`settings.agents.conversation_handler_temperature` is the environment variable
`AGENTS__CONVERSATION_HANDLER_TEMPERATURE`, and so on for every field. A changed setting takes
effect with the next handler. What belongs to a provider (`OPENAI_API_KEY`, `OPENAI_BASE_URL` ...)
is not here: those variables mean what they mean elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal

from llmkeep.core.errors import LLMKeepError

try:
    from pydantic import (
        AfterValidator,
        BaseModel,
        BeforeValidator,
        ConfigDict,
        Field,
        StringConstraints,
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


Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
BuiltinTool = Literal["calculator", "current_time", "notes"]

# NoDecode: the source reads lists as JSON alone, and answers bad JSON in words of its own.
Names = Annotated[tuple[Name, ...], NoDecode, BeforeValidator(_listed)]
BuiltinTools = Annotated[tuple[BuiltinTool, ...], NoDecode, BeforeValidator(_listed)]
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
    if inside:
        message = f"at {'.'.join(inside):.80}: {message}"
    return SettingsError(f"{_DELIMITER.join(variable).upper()}: {message}{_shown(place, first)}")


def _shown(place: list[str], first: Mapping[str, Any]) -> str:
    """What came, where nothing else is in it: a server has its credentials in its settings."""
    value = first["input"]
    if "mcp_servers" not in place and isinstance(value, str | int | float | None):
        return f", got {value!r:.80}"
    return "" if first["type"] == "value_error" else f", got a {type(value).__name__}"


settings: Final = load()
