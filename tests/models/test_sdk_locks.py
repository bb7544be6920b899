"""What an SDK computes once, it can compute in a forked child too."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from functools import cached_property
from typing import Any

import anthropic
import openai
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel

import llmkeep


def _anthropic() -> None:
    assert anthropic.Anthropic(api_key="not-a-secret").messages is not None


def _openai() -> None:
    assert openai.AsyncOpenAI(api_key="not-a-secret").chat.completions is not None


def _model() -> None:
    model: Any = llmkeep.chat_model("anthropic:another", api_key="not-a-secret")
    assert model._serialized


def _lock_of(kind: type, name: str) -> Any:
    """What is held while the attribute is computed: nothing, since Python 3.12."""
    found: Any = vars(kind)[name]
    assert isinstance(found, cached_property)
    return getattr(found, "lock", contextlib.nullcontext())


# CPython's own, since 3.12: that is what is tested.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    ("provider", "kind", "name", "compute"),
    [
        ("anthropic", anthropic.Anthropic, "messages", _anthropic),
        ("openai", openai.AsyncOpenAI, "chat", _openai),
        ("anthropic", ChatAnthropic, "_client_params", _model),
        ("anthropic", BaseChatModel, "_serialized", _model),
    ],
)
def test_i9_a_child_does_not_inherit_the_lock_of_a_cached_property(
    provider: str, kind: type, name: str, compute: Any
) -> None:
    """Forked while another thread computes what a client has once, a child computes it itself."""
    llmkeep.chat_model(f"{provider}:some-model", api_key="not-a-secret")
    compute()  # whatever is imported for it is there
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with _lock_of(kind, name):
            held.set()
            over.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends a child that hangs
        try:
            compute()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    over.set()
    holder.join()
    assert status == 0
