"""Which model is talked with where nobody names one: what the settings and the environment say.

A setting decides, then the address of a server of one's own, then a provider's key. Not here: what
is tried beyond that; the model in the box is the last of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

from llmkeep.core.errors import LLMKeepError
from llmkeep.settings import Settings

from .choice import default_model_of, split_model

#: Key, provider, and the package that its models need.
KEYS: Final = (
    ("OPENAI_API_KEY", "openai", "langchain_openai"),
    ("ANTHROPIC_API_KEY", "anthropic", "langchain_anthropic"),
    ("GOOGLE_API_KEY", "google_genai", "langchain_google_genai"),
)

#: The model in the box.
BOX: Final = "local:smollm2"

#: Seconds that a server gets to say which models it has.
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


def configured(
    model: str | None,
    base_url: str | None,
    settings: Settings,
    environment: Mapping[str, str] | None = None,
) -> Pick | None:
    """What is configured, in the order that the module's docstring gives; what is said wins.

    None where nothing is. Asks a server that is named alone for its models, which blocks. Raises
    NoModel where that has none.
    """
    environment = os.environ if environment is None else environment
    said = base_url or settings.llm.base_url
    address = said or _address_without_key(environment)
    if name := model or settings.agents.conversation_handler_default_model:
        return named(name, address, settings.llm.default_provider, is_for_it=bool(base_url))
    if settings.llm.model_fields_set and not said:
        return Pick(_default(settings.llm.default_provider))
    if address:
        found = first_model(address, key=environment.get("OPENAI_API_KEY"))
        return Pick(f"openai:{found}", address, f"of the server at {_shown(address)}")
    for variable, provider, package in KEYS:
        if environment.get(variable) and find_spec(package) is not None:
            return Pick(_default(provider), reason=f"since {variable} is set")
    return None


def in_this_process(environment: Mapping[str, str] | None = None) -> Pick:
    """A model that runs in this process: a file that the environment names, or the one in the box.

    The latter is a small one, for a demonstration.
    """
    file = (os.environ if environment is None else environment).get("LLMKEEP_LOCAL_MODEL")
    return Pick(f"local:{file}") if file else Pick(BOX, is_demonstration=True)


def named(
    name: str, address: str | None, default_provider: str, *, is_for_it: bool = False
) -> Pick:
    """The model of that name, at an address if there is one.

    That is the default provider's, unless it was given with the name.
    """
    provider, model = split_model(name, default_provider, own_server=address is not None)
    if provider != default_provider and not is_for_it:
        address = None
    model = f"{provider}:{model}"
    return Pick(model, address, is_demonstration=model == BOX)


def first_model(base_url: str, timeout: float = TIMEOUT, *, key: str | None = None) -> str:
    """The first model that an OpenAI-compatible server lists and that is none for embeddings.

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


def _address_without_key(environment: Mapping[str, str]) -> str | None:
    return None if environment.get("OPENAI_API_KEY") else environment.get("OPENAI_BASE_URL")


def _default(provider: str) -> str:
    return f"{provider}:{default_model_of(provider)}"


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
