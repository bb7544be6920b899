"""Which model the terminal talks with when nobody says so.

What the settings and the environment say decides. Else an OpenAI-compatible server on this
machine, at the addresses where the usual ones listen; loopback only. Else the model in the box.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Final

from llmkeep.agents.picking import (
    BOX,
    NoModel,
    Pick,
    configured,
    first_model,
    in_this_process,
)
from llmkeep.settings import Settings

__all__ = ["BOX", "NoModel", "Pick", "find_server", "first_model", "pick"]

#: Name and port of the servers that are looked for.
SERVERS: Final = (("Ollama", 11434), ("LM Studio", 1234), ("llama.cpp", 8080), ("vLLM", 8000))

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")

#: What is said of the model in the box.
DEMONSTRATION: Final = (
    "This is a small demonstration model: it talks and calls tools, but do not rely on what it "
    "says.\nFor a real one set OPENAI_API_KEY or ANTHROPIC_API_KEY, start a local server such as "
    "Ollama, or see\n--model and --base-url; `llmkeep doctor` tells what works here."
)

#: Seconds that a server on this machine gets to say which models it has.
LOOPBACK_TIMEOUT: Final = 0.5


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
    return (
        configured(model, base_url, settings, environment)
        or find_server(servers)
        or in_this_process(environment)
    )


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
