"""Which model the terminal talks with when nobody says so.

A provider's key in the environment decides. Without one, an OpenAI-compatible server on this
machine, at the addresses where the usual ones listen; loopback only. Else the model in the box.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

from llmkeep.agents.choice import default_model_of, split_model
from llmkeep.core.errors import LLMKeepError
from llmkeep.settings import Settings

#: Key, provider, and the package that its models need.
KEYS: Final = (
    ("OPENAI_API_KEY", "openai", "langchain_openai"),
    ("ANTHROPIC_API_KEY", "anthropic", "langchain_anthropic"),
    ("GOOGLE_API_KEY", "google_genai", "langchain_google_genai"),
)

#: Name and port of the servers that are looked for.
SERVERS: Final = (("Ollama", 11434), ("LM Studio", 1234), ("llama.cpp", 8080), ("vLLM", 8000))

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")

#: The model in the box.
BOX: Final = "local:smollm2"

#: What is said of it.
DEMONSTRATION: Final = (
    "This is a small demonstration model: it talks and calls tools, but do not rely on what it "
    "says.\nFor a real one set OPENAI_API_KEY or ANTHROPIC_API_KEY, start a local server such as "
    "Ollama, or see\n--model and --base-url; `llmkeep doctor` tells what works here."
)

#: Seconds that a server on this machine gets to say which models it has, and one elsewhere.
LOOPBACK_TIMEOUT: Final = 0.5
TIMEOUT: Final = 10.0

_MAX_LIST: Final = 1 << 20


class NoModel(LLMKeepError):
    """A server names no model that could be talked with."""


@dataclass(frozen=True)
class Pick:
    """A model to talk with, and why this one."""

    model: str
    base_url: str | None = None
    reason: str = ""
    is_demonstration: bool = False


def pick(
    model: str | None,
    base_url: str | None,
    settings: Settings,
    *,
    environment: Mapping[str, str] | None = None,
    servers: Iterable[tuple[str, int]] = SERVERS,
) -> Pick:
    """Decide, in the order that the module's docstring gives; what is said wins.

    Raises NoModel where a server was named and has no model.
    """
    environment = os.environ if environment is None else environment
    said = base_url or settings.llm.base_url
    address = said or _address_without_key(environment)
    if named := model or settings.agents.conversation_handler_default_model:
        return _named(named, address, settings.llm.default_provider, is_for_it=bool(base_url))
    if settings.llm.model_fields_set and not said:
        return Pick(_default(settings.llm.default_provider))
    if address:
        return _first_of(address)
    for variable, provider, package in KEYS:
        if environment.get(variable) and find_spec(package) is not None:
            return Pick(_default(provider), reason=f"since {variable} is set")
    return find_server(servers) or _in_this_process(environment)


def _address_without_key(environment: Mapping[str, str]) -> str | None:
    return None if environment.get("OPENAI_API_KEY") else environment.get("OPENAI_BASE_URL")


def _named(name: str, address: str | None, default_provider: str, *, is_for_it: bool) -> Pick:
    """The model of that name; the address is the default provider's, unless given with the name."""
    provider, model = split_model(name, default_provider, own_server=address is not None)
    if provider != default_provider and not is_for_it:
        address = None
    model = f"{provider}:{model}"
    return Pick(model, address, is_demonstration=model == BOX)


def _first_of(address: str) -> Pick:
    model = first_model(address, key=os.environ.get("OPENAI_API_KEY"))
    return Pick(f"openai:{model}", address, f"of the server at {_shown(address)}")


def _in_this_process(environment: Mapping[str, str]) -> Pick:
    file = environment.get("LLMKEEP_LOCAL_MODEL")
    return Pick(f"local:{file}") if file else Pick(BOX, is_demonstration=True)


def _default(provider: str) -> str:
    return f"{provider}:{default_model_of(provider)}"


def find_server(servers: Iterable[tuple[str, int]] = SERVERS) -> Pick | None:
    """The first server on this machine that answers as an OpenAI-compatible one, if any does."""
    for name, port in servers:
        address = f"http://{LOOPBACK[0]}:{port}/v1"
        try:
            model = first_model(address, LOOPBACK_TIMEOUT, key=None)
        except NoModel:
            continue
        return Pick(f"openai:{model}", address, f"of {name} at {address}")
    return None


def first_model(base_url: str, timeout: float = TIMEOUT, *, key: str | None = None) -> str:
    """The first model that a server lists and that is none for embeddings.

    `key` is for a server that somebody named: whatever listens on this machine is told none.
    Raises NoModel, which says what is wrong with the server's answer.
    """
    try:
        listed = _get_json(f"{base_url.rstrip('/')}/models", timeout, key)
        names = [str(each["id"]) for each in listed["data"]]
    except (OSError, HTTPException, ValueError, LookupError, TypeError) as error:
        raise NoModel(f"no models at {_shown(base_url)}: {type(error).__name__}") from None
    for name in names:
        if "embed" not in name.lower():
            return name
    raise NoModel(f"the server at {_shown(base_url)} has no model to talk with: load one")


def _get_json(address: str, timeout: float, key: str | None) -> Any:
    """Read a short JSON document. No client of a provider: no proxy, no redirect, no retry."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("no address")
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with closing(kind(parts.hostname, parts.port, timeout=timeout)) as connection:
        connection.request("GET", parts.path, headers=headers)
        with connection.getresponse() as response:
            if response.status != 200:
                raise ValueError(response.status)
            return json.loads(response.read(_MAX_LIST))


def _shown(base_url: str) -> str:
    """The address without what may be a password in it."""
    return base_url.rpartition("@")[2]
