"""A changed credential or address takes effect with the next call, without a new handle."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, fields
from typing import Any

import pytest

import llmkeep
from llmkeep.models import Adapter, ModelConfigurationError, chat_model
from llmkeep.models.environment import Variables
from tests.models.fakes import FakeClient, KeyedStandIn, fake_adapter


@pytest.mark.parametrize(
    ("name", "variable"),
    [("openai:gpt-4o-mini", "OPENAI_API_KEY"), ("anthropic:claude-haiku-4-5", "ANTHROPIC_API_KEY")],
)
async def test_i4_a_rotated_key_is_sent_with_the_next_request(
    name, variable, standin: KeyedStandIn, monkeypatch
):
    """The handle, what was bound to it, and its copies all follow the environment."""
    llm = chat_model(name, max_tokens=10)
    bound = llm.bind(stop=["x"])
    standin.llm.reply("hello", times=None)
    await llm.ainvoke("hello")
    monkeypatch.setenv(variable, "sk-rotated")
    await llm.ainvoke("hello")
    await bound.ainvoke("hello")
    llm.model_copy().invoke("hello")
    assert standin.credentials == [os.environ[variable][:3] + name.split(":")[0]] + 3 * [
        "sk-rotated"
    ]
    assert llmkeep.stats().builds == 2


async def test_a_changed_address_is_called_by_the_next_request(standin, monkeypatch):
    """So it is with the endpoint."""
    llm = chat_model("openai:gpt-4o-mini")
    with KeyedStandIn() as other:
        await llm.ainvoke("hello")
        monkeypatch.setenv("OPENAI_API_BASE", other.base_url("openai"))
        await llm.ainvoke("hello")
        assert (len(standin.requests), len(other.requests)) == (1, 1)
        await llmkeep.models.aclose()


def test_i4_invalidate_makes_the_next_call_build_anew():
    """For a rotation that the environment does not show; only this configuration is retired."""
    llm, other = chat_model("fake:a"), chat_model("fake:b")
    assert llm.invalidate()
    llm.invoke("hello")
    other.invoke("hello")
    assert [client.calls for client in FakeClient.made] == [0, 1, 1]
    assert other.invalidate()
    assert other.model_copy(update={"temperature": 1}).invalidate() is not False


def test_a_key_that_goes_away_is_named_by_the_next_call(monkeypatch):
    """And the handle works again when it is back."""
    llm = chat_model("fake:a")
    monkeypatch.delenv("FAKE_API_KEY")
    with pytest.raises(ModelConfigurationError, match="set FAKE_API_KEY, or pass api_key="):
        llm.invoke("hello")
    monkeypatch.setenv("FAKE_API_KEY", "fake-key")
    assert llm.invoke("hello").content == "fake-key"


FAKE = fake_adapter()


@dataclass(frozen=True)
class Interrupting(Adapter):
    """Calls `between[0]()`, once, while a model is constructed."""

    between: Any = ()

    def make(self, arguments: dict[str, Any]) -> Any:
        made = super().make(arguments)
        if self.between:
            self.between.pop()()
        return made


def interrupted_by(*what: Any) -> list[Any]:
    between: list[Any] = list(what)
    settings = {each.name: getattr(FAKE, each.name) for each in fields(FAKE) if each.init}
    llmkeep.models.register(Interrupting(**settings, between=between))
    return between


def test_i11_a_variable_that_changes_during_the_construction_is_not_mixed_up(monkeypatch):
    """No instance is published under a key that it was not built with."""
    interrupted_by(lambda: monkeypatch.setenv("FAKE_API_KEY", "new"))
    llm = chat_model("fake:a")
    assert llm.invoke("hello").content == "new"
    assert chat_model("fake:a", api_key="new").invoke("hello").content == "new"
    assert chat_model("fake:a", api_key="fake-key").invoke("hello").content == "fake-key"


def test_i11_nor_is_one_that_changes_while_an_evicted_instance_is_built_again(monkeypatch):
    """The same for an instance that is rebuilt later, from a handle that exists."""
    between = interrupted_by()
    llm = chat_model("fake:a")
    llm.invalidate()
    between.append(lambda: monkeypatch.setenv("FAKE_API_KEY", "new"))
    assert llm.invoke("hello").content == "new"
    assert chat_model("fake:a", api_key="fake-key").invoke("hello").content == "fake-key"


def test_a_default_cache_that_is_closed_under_a_handle_is_opened_anew():
    """Closing is final for what was there; the next use opens a new cache."""
    llm = chat_model("fake:a")
    llmkeep.close()
    assert FakeClient.made[0].closes == 1
    assert llm.invoke("hello").content == "fake-key"
    llmkeep.default_cache().close()
    assert llm.invoke("hello").content == "fake-key"
    assert [client.calls for client in FakeClient.made] == [0, 1, 1]


def test_rotating_while_many_threads_call_fails_nobody(monkeypatch):
    """Every call gets an instance of a key that was valid during the call."""
    llm = chat_model("fake:a")
    stop, seen, errors = threading.Event(), set(), []

    def call() -> None:
        try:
            while not stop.is_set():
                seen.add(llm.invoke("hello").content)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for number in range(50):
        monkeypatch.setenv("FAKE_API_KEY", f"key {number % 3}")
        llm.invoke("hello")
    stop.set()
    for thread in threads:
        thread.join(10)
    assert errors == []
    assert seen <= {"fake-key", "key 0", "key 1", "key 2"}


@pytest.mark.parametrize("environ", [None, {"FAKE_REGION": "one", "OTHER": "x"}])
def test_variables_are_what_the_environment_says(environ, monkeypatch):
    """Set, changed and deleted ones, also where somebody put another mapping in its place."""
    if environ is not None:
        monkeypatch.setattr(os, "environ", environ)
    variables = Variables(["FAKE_REGION", "NOT_SET", "OTHER"])
    for value in ("ä", "", "\udcff", None):
        if value is None:
            monkeypatch.delenv("FAKE_REGION")
        else:
            monkeypatch.setenv("FAKE_REGION", value)
        seen = tuple(os.environ.get(name) for name in ("FAKE_REGION", "NOT_SET", "OTHER"))
        assert variables.look() == seen
        assert seen[0] == value
