"""The tools of MCP servers: real ones, over stdio and over HTTP, and nothing left behind."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from langchain_core.tools import BaseTool, ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool
from mcp.server.fastmcp import FastMCP
from mcp.types import Tool

from llmkeep.agents.mcp import _told, forget_mcp_tools, mcp_tools
from llmkeep.agents.tools import BUILTIN_TOOLS
from llmkeep.settings import SettingsError
from tests.agents.calling import called
from tests.agents.loops import on_loops_at_once

PATIENCE = 30.0

STDIO = '''
import os, pathlib, sys
import anyio
from mcp.server.fastmcp import FastMCP

server = FastMCP("shop", log_level="ERROR")
folder = pathlib.Path(sys.argv[1])

@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b

@server.tool()
def fail(what: str) -> str:
    """Fail."""
    raise ValueError("no " + what)

@server.tool(name="with.dots/and slashes")
def odd() -> str:
    """Have an odd name."""
    return os.environ.get("SHOP_COLOUR", "none")

@server.tool()
async def wait() -> str:
    """Wait for long."""
    (folder / "waiting").touch()
    await anyio.sleep(60)
    return ""

with (folder / "started").open("a") as log:
    print("started", file=log)
server.run()
'''


@pytest.fixture(autouse=True)
def ask_anew() -> Iterator[None]:
    yield
    forget_mcp_tools()


@pytest.fixture
def shop(tmp_path: Path) -> dict[str, Any]:
    """The settings of a server over stdio, which writes down each of its starts."""
    program = tmp_path / "shop.py"
    program.write_text(STDIO)
    return {"command": sys.executable, "args": [str(program), str(tmp_path)]}


def starts(folder: Path) -> int:
    return len((folder / "started").read_text().splitlines())


def named(tools: tuple[BaseTool, ...]) -> dict[str, BaseTool]:
    return {tool.name: tool for tool in tools}


def text(answer: Any) -> str:
    return str(answer.text)


@contextmanager
def served(application: Any, lifespan: Any = "on") -> Iterator[str]:
    """The address of an application that is served on a thread of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(application, log_level="error", ws="none", lifespan=lifespan)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, args=[[listening]])
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    finally:
        running.should_exit = True
        thread.join(PATIENCE)
        listening.close()
        assert not thread.is_alive()


def over_http(server: FastMCP) -> AbstractContextManager[str]:
    return served(server.streamable_http_app())


def market() -> FastMCP:
    server = FastMCP("market", log_level="ERROR")

    @server.tool()
    def double(number: int) -> int:
        """Double a number."""
        return 2 * number

    @server.tool()
    def fail() -> str:
        """Fail."""
        raise ValueError("closed today")

    return server


async def test_tools_over_stdio(shop):
    """They come with their names, descriptions and schemas, and work."""
    tools = named(await mcp_tools({"shop": shop}))
    assert list(tools) == ["shop_add", "shop_fail", "shop_with_dots_and_slashes", "shop_wait"]
    add = tools["shop_add"]
    assert add.description == "Add two numbers."
    assert set(add.args) == {"a", "b"}
    answer = await called(add, a=2, b=3)
    assert (text(answer), answer.status) == ("5", "success")
    assert answer.artifact == {"structured_content": {"result": 5}}
    assert text(await called(tools["shop_with_dots_and_slashes"])) == "none"


async def test_a_server_gets_its_environment(shop):
    servers = {"shop": {**shop, "transport": "stdio", "env": {"SHOP_COLOUR": "blue"}}}
    tools = named(await mcp_tools(servers))
    assert text(await called(tools["shop_with_dots_and_slashes"])) == "blue"


async def test_a_tool_that_fails_gives_an_error(shop):
    """A result that is marked as one: the model reads it and the run goes on."""
    tools = named(await mcp_tools({"shop": shop}))
    answer = await called(tools["shop_fail"], what="bread")
    assert answer.status == "error"
    assert "no bread" in text(answer)
    refused = await called(tools["shop_add"], a="many", b=3)
    assert refused.status == "error"


async def test_tools_over_http():
    with over_http(market()) as url:
        tools = named(await mcp_tools({"market": {"url": url}}))
        assert list(tools) == ["market_double", "market_fail"]
        assert text(await called(tools["market_double"], number=4)) == "8"
        failed = await called(tools["market_fail"])
        assert failed.status == "error"
        assert "closed today" in text(failed)


async def test_a_server_that_has_gone_fails_the_call_in_a_line():
    """A line for the model, where the libraries raise groups of groups."""
    with over_http(market()) as url:
        tools = named(await mcp_tools({"market": {"url": url}}))
    with pytest.raises(ToolException, match=r"^the server market failed: ConnectError: "):
        await called(tools["market_double"], number=4)


def test_loops_and_threads_share_what_was_loaded_once(shop, tmp_path: Path):
    """One start tells the tools to all who ask at once, and each call is a start of its own."""
    found: list[tuple[BaseTool, ...]] = []

    async def talk(_loop: int) -> None:
        found.extend(await asyncio.gather(*(mcp_tools({"shop": dict(shop)}) for _ in range(3))))

    on_loops_at_once(talk)
    assert starts(tmp_path) == 1
    assert all(tools is found[0] for tools in found)
    add = found[0][0]

    async def call(loop: int) -> None:
        assert text(await called(add, a=loop, b=1)) == str(loop + 1)

    on_loops_at_once(call, loops=2)
    assert starts(tmp_path) == 3


def test_one_loop_after_the_other_over_http():
    with over_http(market()) as url:
        servers = {"market": {"transport": "http", "url": url}}

        async def talk() -> BaseTool:
            double = (await mcp_tools(servers))[0]
            assert text(await called(double, number=4)) == "8"
            return double

        assert asyncio.run(talk()) is asyncio.run(talk())


async def test_other_settings_are_other_tools(shop, tmp_path: Path):
    once = await mcp_tools({"shop": shop})
    other = await mcp_tools({"shop": {**shop, "env": {"SHOP_COLOUR": "red"}}})
    assert once[0] is not other[0]
    assert starts(tmp_path) == 2


async def test_several_servers_are_asked_together(shop):
    with over_http(market()) as url:
        tools = named(await mcp_tools({"shop": shop, "market": {"url": url}}))
        assert text(await called(tools["shop_add"], a=1, b=1)) == "2"
        assert text(await called(tools["market_double"], number=1)) == "2"


async def test_two_tools_of_one_name_are_refused():
    def tool_named(name: str) -> FastMCP:
        server = FastMCP("any", log_level="ERROR")
        server.add_tool(lambda: "", name=name, description="Do nothing")
        return server

    with (
        over_http(tool_named("b_c")) as one,
        over_http(tool_named("c")) as other,
        pytest.raises(SettingsError) as refused,
    ):
        await mcp_tools({"a": {"url": one}, "a_b": {"url": other}})
    assert str(refused.value) == (
        "AGENTS__MCP_SERVERS: a_b: there is a tool 'a_b_c' already, from AGENTS__MCP_SERVERS: a"
    )


async def test_a_tool_without_arguments_has_a_whole_schema():
    """Also where the server leaves out that it has none; and a long name is cut."""

    class Terse(FastMCP):
        async def list_tools(self) -> list[Any]:
            return [Tool(name="n" * 100, inputSchema={"type": "object"})]

    with over_http(Terse("any", log_level="ERROR")) as url:
        (tool,) = await mcp_tools({"terse": {"url": url}})
    assert tool.args == {}
    assert tool.name == f"terse_{'n' * 58}"
    assert convert_to_openai_tool(tool)["function"]["parameters"]["properties"] == {}


async def test_a_tool_with_the_name_of_one_beside_it_is_refused():
    with over_http(market()) as url:
        servers = {"market": {"url": url}}
        tools = await mcp_tools(servers)
        with pytest.raises(SettingsError, match=r"^AGENTS__MCP_SERVERS: .*'market_double'"):
            await mcp_tools(servers, beside=tools[:1])
        assert await mcp_tools(servers, beside=BUILTIN_TOOLS) == tools


async def test_a_call_that_is_cancelled_ends_its_server(shop, tmp_path: Path):
    """However often it is cancelled; that nothing is left is looked at after every test."""
    wait = named(await mcp_tools({"shop": shop}))["shop_wait"]
    for times in (1, 3):
        (tmp_path / "waiting").unlink(missing_ok=True)
        call = asyncio.create_task(called(wait))
        async with asyncio.timeout(PATIENCE):
            while not (tmp_path / "waiting").exists():
                await asyncio.sleep(0.01)
        for _ in range(times):
            call.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await call


SECRET = "hunter2hunter2"


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        ({"command": "no-such-command"}, "FileNotFoundError: "),
        ({"command": sys.executable, "args": ["-c", ""]}, "it ended before it answered: "),
        ({"command": sys.executable, "args": 5}, "args: Input should be a valid list"),
        ({"command": sys.executable, "env": SECRET}, ""),
        ({"command": sys.executable, "env": {"TOKEN": 5}}, ""),
        ({"command": sys.executable, "password": SECRET}, "TypeError: "),
        ({"url": "http://127.0.0.1:9/mcp"}, "ConnectError: "),
        ({"url": f"http://u:{SECRET}@127.0.0.1:9/mcp?key={SECRET}"}, "ConnectError: "),
        ({"url": "ftp://127.0.0.1/"}, "UnsupportedProtocol: "),
        ({"url": "http://127.0.0.1:9/mcp", "transport": "pigeon"}, "ValueError: Unsupported"),
    ],
)
async def test_a_server_that_cannot_be_asked_is_named(server: dict[str, Any], reason: str):
    """With the variable and the reason, without anything that it was configured with."""
    if "url" in server:
        server["headers"] = {"Authorization": SECRET}
    with pytest.raises(SettingsError) as refused:
        await mcp_tools({"shop": server})
    told = str(refused.value)
    assert told.startswith(f"AGENTS__MCP_SERVERS: shop: {reason}")
    assert SECRET not in told
    assert "\n" not in told
    assert refused.value.__cause__ is None


async def test_what_a_server_repeats_of_its_headers_is_not_told():
    async def repeat(_scope: Any, receive: Any, send: Any) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": 307,
                "headers": [(b"location", SECRET.encode() + b"://x")],
            }
        )
        await send({"type": "http.response.body", "body": b""})

    listening = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(repeat, log_level="error", ws="none", lifespan="off"))
    thread = threading.Thread(target=running.run, args=[[listening]])
    thread.start()
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    with pytest.raises(SettingsError, match=r"^AGENTS__MCP_SERVERS: shop: ") as refused:
        await mcp_tools({"shop": {"url": url, "headers": {"x-secret": SECRET}}})
    running.should_exit = True
    thread.join(PATIENCE)
    listening.close()
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "server",
    [
        {"command": "none", "args": ["--api-key", SECRET]},
        {"command": "none", "args": [f"--api-key={SECRET}"]},
        {"url": f"http://127.0.0.1:9/mcp?sig={SECRET}"},
    ],
)
def test_i12_what_a_server_was_started_with_is_not_told(server: dict[str, Any]):
    """Its arguments and its address may hold a key."""
    error = RuntimeError(f"no answer of {server}")
    assert SECRET not in _told(error, server)


async def test_a_server_that_does_not_answer_is_given_up():
    """Its process is ended."""
    silent = {"command": sys.executable, "args": ["-c", "import sys; sys.stdin.read()"]}
    with pytest.raises(SettingsError, match=r"^AGENTS__MCP_SERVERS: shop: no answer within 0.3 s"):
        await mcp_tools({"shop": silent}, patience=0.3)


async def test_a_failure_is_not_kept(tmp_path: Path):
    """The next who asks finds the server that has been mended."""
    program = tmp_path / "shop.py"
    shop = {"command": sys.executable, "args": [str(program), str(tmp_path)]}
    with pytest.raises(SettingsError):
        await mcp_tools({"shop": shop})
    program.write_text(STDIO)
    assert "shop_add" in named(await mcp_tools({"shop": shop}))


async def test_a_neighbour_of_a_failing_server_is_put_away(shop):
    """Though nobody gets its tools; the failing one is named."""
    with pytest.raises(SettingsError, match=r"^AGENTS__MCP_SERVERS: bad: FileNotFoundError"):
        await mcp_tools({"shop": shop, "bad": {"command": "no-such-command"}})


async def test_without_servers_there_are_no_tools():
    assert await mcp_tools({}) == ()


def test_a_missing_package_names_its_extra():
    program = (
        "import sys; sys.modules['langchain_mcp_adapters'] = None; import asyncio; "
        "from llmkeep.agents.mcp import mcp_tools; "
        "assert asyncio.run(mcp_tools({})) == (); "
        "asyncio.run(mcp_tools({'shop': {'command': 'shop'}}))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("ImportError: langchain_mcp_adapters")
    assert last.endswith('pip install "llmkeep[mcp]"')
