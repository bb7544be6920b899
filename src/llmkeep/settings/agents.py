"""Settings of models and agents: `LLM__...` and `AGENTS__...`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from .checked import Section
from .values import Name, Names, Seconds, listed, read_json

#: Servers of the model context protocol by name, as `langchain-mcp-adapters` takes them.
Servers = dict[str, dict[str, Any]]


def _checked_servers(servers: Servers) -> Servers:
    for name, server in servers.items():
        if not server.keys() & {"command", "url"}:
            raise ValueError(f"the server {name!r:.80} has neither a command nor a url")
    return servers


BuiltinTool = Literal["calculator", "current_time", "notes"]
BuiltinTools = Annotated[tuple[BuiltinTool, ...], NoDecode, BeforeValidator(listed)]
MCPServers = Annotated[
    Servers, NoDecode, BeforeValidator(read_json), AfterValidator(_checked_servers)
]


class LLMSettings(Section):
    """Which models are used where nothing else says so."""

    prefix: ClassVar[tuple[str, ...]] = ("LLM",)

    default_provider: Name = "openai"
    """The provider of every model that is named without one."""

    base_url: Name | None = None
    """The address of an OpenAI-compatible server, for the default provider's models alone.

    None: the provider's own, or what its own variable (`OPENAI_BASE_URL` ...) says.
    """


class AgentSettings(Section):
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
