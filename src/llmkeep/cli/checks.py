"""What `llmkeep doctor` looks at. Each probe of a socket takes half a second at most."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import text

from llmkeep.core.errors import LLMKeepError
from llmkeep.models.adapters import Adapter
from llmkeep.models.local import BOXES, VARIABLE
from llmkeep.models.local_gguf import read_header
from llmkeep.models.providers import PROVIDERS
from llmkeep.settings import settings

from .data import DATABASE, Kept, data_folder
from .doctor import OFF, OK, WRONG, Check, Finding
from .faults import one_line
from .held import Held
from .pick import LOOPBACK, LOOPBACK_TIMEOUT, SERVERS, NoModel, first_model, pick

#: Providers that are told of even where nothing of them is here.
_USUAL: Final = ("openai", "anthropic", "google_genai")

#: Those that need no key, and those that read the keys of others, which says nothing of them.
_KEY_FREE: Final = ("ollama", "huggingface")
_READ_OTHERS: Final = ("azure_ai", "langsmith", "litellm")


def all_checks(folder: Path | None) -> list[tuple[str, Check]]:
    """Every check, under the name of its group."""
    return [
        ("chat", check_chat),
        ("providers", check_providers),
        *(("servers here", partial(check_server, name, port)) for name, port in SERVERS),
        ("model in process", check_local),
        ("data", partial(check_data, folder)),
        ("data", check_drivers),
        ("tools", check_tools),
        *(
            ("tools", partial(check_mcp_server, name, server))
            for name, server in settings.agents.mcp_servers.items()
        ),
    ]


def check_chat() -> Iterator[Finding]:
    """Whether `llmkeep chat` would get its model. The provider itself is not asked."""
    try:
        chosen = pick(None, None, settings)
        asyncio.run(Held(None).use(chosen))
    except Exception as error:
        yield Finding("chat", "model", WRONG, one_line(error), "see below what could be used")
        return
    detail = " ".join(filter(None, [chosen.model, chosen.reason]))
    if chosen.is_demonstration:
        remedy = "a demonstration model: for a real one set a key, or start a local server"
        yield Finding("chat", "model", OK, detail, remedy)
    else:
        yield Finding("chat", "model", OK, detail)


# --- providers -----------------------------------------------------------------------------------


def check_providers() -> Iterator[Finding]:
    """Every provider of which anything is here: its package, or a key."""
    absent = []
    for name, adapter in PROVIDERS.items():
        if name == "local":
            continue
        found = _provider(adapter)
        if name not in _USUAL and (found.state == OFF or name in _READ_OTHERS):
            absent.append(name)
        else:
            yield found
    yield Finding(
        "providers", "others", OFF, f"without package or key: {', '.join(sorted(absent))}"
    )


def _provider(adapter: Adapter) -> Finding:
    here = partial(Finding, "providers", adapter.provider)
    keys = _key_variables(adapter)
    given = next((name for name in keys if os.environ.get(name)), None)
    install = f'pip install "{adapter.package}"'
    if not _is_installed(adapter):
        if given is None:
            return here(OFF, "not installed", install)
        return here(WRONG, f"{given} is set, but the package is missing", install)
    if given is not None:
        return here(OK, f"{given} is set")
    if not keys or adapter.provider in _KEY_FREE:
        return here(OK, "installed")
    return here(OFF, "installed, without a key", f"set {keys[0]}")


def _is_installed(adapter: Adapter) -> bool:
    return find_spec(adapter.path.partition(":")[0].partition(".")[0]) is not None


def _key_variables(adapter: Adapter) -> list[str]:
    """The variables that may hold its key, the usual one first."""
    variables = adapter.environment.items()
    if adapter.key is not None:
        names = [name for name, ends_in in variables if ends_in == adapter.key]
    else:
        names = [name for name, _ in variables if name.endswith(("API_KEY", "APIKEY", "TOKEN"))]
    prefix = adapter.provider.partition("_")[0].upper()
    return [name for name in names if name.startswith(prefix)] or names


def check_server(name: str, port: int) -> Iterator[Finding]:
    """One of the servers that are looked for on this machine."""
    address = f"http://{LOOPBACK[0]}:{port}/v1"
    try:
        model = first_model(address, LOOPBACK_TIMEOUT, key=None)
    except NoModel:
        yield Finding("servers here", name, OFF, f"nothing answers at {address}")
    else:
        yield Finding("servers here", name, OK, f"{model} at {address}")


def check_local() -> Iterator[Finding]:
    """Models in this process."""
    here = partial(Finding, "model in process")
    if find_spec("xllamacpp") is None:
        yield here("llama.cpp", OFF, "not installed", 'pip install "llmkeep[local]"')
    else:
        yield here("llama.cpp", OK, "installed")
    box = BOXES["smollm2"]
    try:
        yield here("smollm2", OK, f"{box.path().stat().st_size / 1e6:.0f} MB")
    except LLMKeepError as error:
        yield here("smollm2", OFF, "not installed", one_line(error))
    if file := os.environ.get(VARIABLE):
        try:
            header = read_header(Path(file))
        except (OSError, ValueError) as error:
            yield here(VARIABLE, WRONG, f"{file}: {type(error).__name__}", "name a GGUF file")
        else:
            yield here(VARIABLE, OK, f"{file}, context of {header.context_length} tokens")


# --- databases -----------------------------------------------------------------------------------


def check_data(given: Path | None) -> Iterator[Finding]:
    """The data folder, and SQLite in it."""
    folder = data_folder(given)
    yield Finding("data", "SQLite", OK, sqlite3.sqlite_version)
    if not (folder / DATABASE).exists():
        parent = next(each for each in (folder, *folder.parents) if each.exists())
        if os.access(parent, os.W_OK | os.X_OK):
            yield Finding("data", "folder", OK, f"{folder} (made when it is first used)")
        else:
            remedy = "name another by --data-folder or LLMKEEP_DATA_FOLDER"
            yield Finding("data", "folder", WRONG, f"{parent} cannot be written to", remedy)
        return
    try:
        count, journal = asyncio.run(_look_into(folder))
    except LLMKeepError as error:
        yield Finding("data", "folder", WRONG, one_line(error))
        return
    conversations = "1 conversation" if count == 1 else f"{count} conversations"
    detail = f"{folder}: {conversations}, journal mode {journal}"
    yield Finding("data", "folder", OK, detail)


async def _look_into(folder: Path) -> tuple[int, str]:
    kept = await Kept.open(folder)
    try:
        async with kept.engine.connect() as connection:
            count = await connection.scalar(text("SELECT count(*) FROM llmkeep_conversations"))
            journal = await connection.scalar(text("PRAGMA journal_mode"))
    finally:
        await kept.close()
    return int(count or 0), str(journal)


def check_drivers() -> Iterator[Finding]:
    """Drivers of other databases, which the terminal does not need."""
    drivers = [name for name in ("psycopg", "asyncpg") if find_spec(name) is not None]
    detail = ", ".join(drivers) if drivers else "no driver (psycopg, asyncpg); chat needs none"
    yield Finding("data", "PostgreSQL", OK if drivers else OFF, detail)


# --- tools ---------------------------------------------------------------------------------------


def check_tools() -> Iterator[Finding]:
    """The tools that the settings name."""
    from llmkeep.agents.tools import builtin_tools

    agents = settings.agents
    ours = builtin_tools(agents.builtin_tools, database=True)
    yield Finding("tools", "built in", OK, ", ".join(tool.name for tool in ours) or "none")
    if agents.tools:
        from llmkeep.agents.tools.loading import named_tools

        try:
            named = named_tools(agents.tools)
        except Exception as error:
            yield Finding("tools", "AGENTS__TOOLS", WRONG, one_line(error))
        else:
            yield Finding("tools", "AGENTS__TOOLS", OK, ", ".join(tool.name for tool in named))
    if agents.mcp_servers and find_spec("langchain_mcp_adapters") is None:
        yield Finding("tools", "MCP", WRONG, "not installed", 'pip install "llmkeep[mcp]"')


def check_mcp_server(name: str, server: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether a server's program is there, or its address answers; its tools are not asked for."""
    here = partial(Finding, "tools", f"MCP {name}")
    if "command" in server:
        program = str(server["command"])
        if shutil.which(program) is None:
            yield here(WRONG, f"there is no program {program}", "see AGENTS__MCP_SERVERS")
        else:
            yield here(OK, f"{program} is there")
        return
    parts = urlsplit(str(server.get("url", "")))
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), LOOPBACK_TIMEOUT).close()
    except OSError as error:
        detail = f"{host}:{port} does not answer ({type(error).__name__})"
        yield here(WRONG, detail, "see AGENTS__MCP_SERVERS")
    else:
        yield here(OK, f"{host}:{port} answers")
