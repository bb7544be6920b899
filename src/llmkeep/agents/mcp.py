"""The tools of MCP servers, through `langchain-mcp-adapters`; needs the extra `mcp`.

The servers are asked once for their tools, for each configuration and process. Each call of a tool
then opens a session of its own, which makes the tools usable on every event loop: to a server over
HTTP that is a few requests more, and one over stdio is started for the call and ended after it, so
that it keeps nothing in its memory from one call to the next.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from anyio import BrokenResourceError, ClosedResourceError
from langchain_core.tools import BaseTool, ToolException
from pydantic import ValidationError

from llmkeep.core import ClientCache
from llmkeep.models.masking import scrubbed
from llmkeep.settings import SettingsError
from llmkeep.transports import async_client

from .faults import redacted
from .tools.loading import distinct

if TYPE_CHECKING:
    import httpx
    from langchain_mcp_adapters.client import MultiServerMCPClient
    from langchain_mcp_adapters.interceptors import MCPToolCallRequest, MCPToolCallResult

Server = Mapping[str, Any]

#: Seconds that a server gets to start and to tell its tools: `npx` may have to fetch it first.
LOAD_TIMEOUT: Final = 60.0

#: What is raised, beside an error of that text, where a server has ended in between.
_ENDED: Final = (BrokenResourceError, ClosedResourceError)

#: What the providers take as a tool's name.
_UNFIT: Final = re.compile(r"[^a-zA-Z0-9_-]")
_NAME_LENGTH: Final = 64

#: The shortest value of a server's settings that is taken for a secret.
_SECRET_LENGTH: Final = 4


async def mcp_tools(
    servers: Mapping[str, Server],
    *,
    beside: Iterable[BaseTool] = (),
    patience: float = LOAD_TIMEOUT,
) -> tuple[BaseTool, ...]:
    """The tools of all `servers`, named `server_tool`; the same objects for equal servers.

    A server is configured as `MultiServerMCPClient` takes it; `transport` may be left out. A tool
    that fails gives a result that is marked as an error.

    Raises SettingsError with the name of a server that cannot be asked, or has not answered after
    `patience` seconds (the next call asks again), and for a tool with the name of one `beside`
    them. Raises ImportError where the package is missing.
    """
    if not servers:
        return ()

    async def load(asked: Mapping[str, Server]) -> tuple[BaseTool, ...]:
        return await _load(asked, patience)

    async with _loaded.lease(servers, build=load) as tools:
        taken = {tool.name for tool in beside}
        for tool in tools:
            if tool.name in taken:
                raise SettingsError(
                    f"AGENTS__MCP_SERVERS: there is a tool {tool.name!r} already: give the server "
                    "another name"
                )
        return tools


def forget_mcp_tools() -> None:
    """Ask the servers again the next time: a server may have other tools by then."""
    _loaded.clear()


async def _load(servers: Mapping[str, Server], patience: float) -> tuple[BaseTool, ...]:
    client = _client(servers)
    # Each to its end, the failing ones too: what a server was started with is put away.
    answers = await asyncio.gather(
        *(_tools_of(client, name, server, patience) for name, server in servers.items()),
        return_exceptions=True,
    )
    found: list[tuple[str, BaseTool]] = []
    for name, answer in zip(servers, answers, strict=True):
        if isinstance(answer, BaseException):
            raise answer
        found.extend((f"AGENTS__MCP_SERVERS: {name}", tool) for tool in answer)
    return distinct(found)


_loaded: Final = ClientCache[Mapping[str, Server], tuple[BaseTool, ...]](
    name="mcp", label=lambda _servers: "servers", max_idle=16, idle_ttl=None
)


def _client(servers: Mapping[str, Server]) -> MultiServerMCPClient:
    try:
        from langchain_mcp_adapters.client import MultiServerMCPClient
    except ImportError as missing:
        raise ImportError(
            f'{missing.name} is not installed: pip install "llmkeep[mcp]"', name=missing.name
        ) from None

    async def plainly(
        request: MCPToolCallRequest,
        handler: Callable[[MCPToolCallRequest], Awaitable[MCPToolCallResult]],
    ) -> MCPToolCallResult:
        """One line for the model, where the libraries raise groups of exceptions."""
        try:
            return await handler(request)
        except Exception as error:
            told = _told(error, servers[request.server_name])
            raise ToolException(f"the server {request.server_name} failed: {told}") from error

    connections: Any = {name: _connection(server) for name, server in servers.items()}
    return MultiServerMCPClient(connections, tool_interceptors=[plainly], tool_name_prefix=True)


def _connection(server: Server) -> dict[str, Any]:
    if "command" in server:
        return {"transport": "stdio", "args": [], **server}
    if server.get("transport") == "websocket":
        return {**server}
    return {"transport": "streamable_http", "httpx_client_factory": _http_client, **server}


def _http_client(**options: Any) -> httpx.AsyncClient:
    """A client over our transport, which shares its TLS context.

    httpx builds one for each client, and the loop stands still meanwhile.
    """
    return async_client(library="httpx", **options)


async def _tools_of(
    client: MultiServerMCPClient, name: str, server: Server, patience: float
) -> list[BaseTool]:
    variable = f"AGENTS__MCP_SERVERS: {name}"
    try:
        async with asyncio.timeout(patience):
            tools = await client.get_tools(server_name=name)
    except TimeoutError:
        raise SettingsError(f"{variable}: no answer within {patience:g} s") from None
    except Exception as error:
        raise SettingsError(f"{variable}: {_told(error, server)}") from None
    return [_fitting(tool) for tool in tools]


def _fitting(tool: BaseTool) -> BaseTool:
    """The tool such that every provider takes it."""
    update: dict[str, Any] = {"name": _UNFIT.sub("_", tool.name)[:_NAME_LENGTH]}
    if isinstance(tool.args_schema, dict):  # servers may leave out what OpenAI insists on
        update["args_schema"] = {"type": "object", "properties": {}, **tool.args_schema}
    return tool.model_copy(update=update)


def _told(error: Exception, server: Server) -> str:
    """What went wrong first, in a line without anything that the server was configured with."""
    first: BaseException = error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    text = f"{type(first).__name__}: {first}"
    if isinstance(first, ValidationError):  # its text would quote what it refuses
        wrong = first.errors(include_input=False)[0]
        text = f"{'.'.join(map(str, wrong['loc']))}: {wrong['msg']}"
    elif isinstance(first, _ENDED) or str(first) == "Connection closed":
        text = "it ended before it answered: start it by hand to see why"
    for secret in _secrets(server):
        text = text.replace(secret, "***")
    return redacted(scrubbed(text, server))


def _secrets(server: Server) -> Iterator[str]:
    for name in ("env", "headers"):
        values = server.get(name)
        for value in (values or {}).values() if isinstance(values, Mapping | None) else ():
            if isinstance(value, str) and len(value) >= _SECRET_LENGTH:
                yield value
    arguments = server.get("args")
    for argument in arguments if isinstance(arguments, list) else ():
        # --api-key hunter2, --api-key=hunter2; a flag's own name is no secret
        value = str(argument).rpartition("=")[2] if str(argument).startswith("-") else str(argument)
        if len(value) >= _SECRET_LENGTH and not value.startswith("-"):
            yield value
