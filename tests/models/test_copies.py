"""Copies share the sealed configuration; a change is another one; pickle leaves secrets behind."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from langchain_core.runnables import ConfigurableField

import llmkeep
from llmkeep.models import ModelConfigurationError, chat_model
from tests.models.fakes import ChatFake, FakeClient


def fields_of(llm: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(llm).items() if name != "_serialized"}


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda llm: llm.model_copy()])
def test_a_copy_shares_the_sealed_configuration(copied):
    """Fields are equal, the configuration is the same object, no instance is made."""
    llm = chat_model("fake:a", options={"x": [1]}, tags=["mine"])
    other = copied(llm)
    assert fields_of(other) == fields_of(llm)
    assert other.llmkeep_configuration is llm.llmkeep_configuration
    assert other.invoke("hello").content == "fake-key"
    assert len(FakeClient.made) == 1


def test_a_changed_copy_is_another_configuration():
    """By the field's name or its alias; what belongs to the caller makes no difference."""
    llm: Any = chat_model("fake:a", tags=["mine"], temperature=0.1)
    other = llm.model_copy(update={"temperature": 0.2})
    assert (other.temperature, llm.temperature, other.tags) == (0.2, 0.1, ["mine"])
    assert len(FakeClient.made) == 2
    renamed = llm.model_copy(update={"model_name": "b"})
    assert renamed.llmkeep_configuration.label == "fake:b"
    assert llm.model_copy(update={"model": "b"}).model_name == "b"
    assert len(FakeClient.made) == 3
    assert llmkeep.stats().live == 3
    mine = llm.model_copy(update={"tags": ["other"]})
    assert (mine.tags, llm.tags) == (["other"], ["mine"])
    assert mine.llmkeep_configuration is llm.llmkeep_configuration
    assert llm.model_copy(update={"temperature": 0.1}).llmkeep_configuration.label == "fake:a"
    assert llmkeep.stats().live == 3


def test_a_changed_copy_keeps_credentials_and_objects():
    """What the handle does not show is not lost."""
    hooks: list[int] = []
    llm: Any = chat_model("fake:a", api_key="secret", hook=lambda: hooks.append(1))
    assert llm.model_copy(update={"temperature": 1}).invoke("hello").content == "secret"
    assert llm.model_copy(update={"fake_api_key": "other"}).invoke("hello").content == "other"
    assert hooks == [1, 1]


def test_a_changed_model_gets_its_own_profile():
    """What the class looked up for the old model is not carried over; what was given is."""
    llm: Any = chat_model("openai:gpt-4o-mini")
    other = llm.model_copy(update={"model_name": "gpt-5-mini"})
    assert other.profile["name"] != llm.profile["name"]
    given: Any = chat_model("openai:gpt-4o-mini", profile={"tool_calling": False})
    assert given.model_copy(update={"temperature": 1}).profile == {"tool_calling": False}


def test_a_wire_field_cannot_be_assigned():
    """An assignment that would change nothing that is sent is refused with the way that does."""
    llm: Any = chat_model("fake:a")
    with pytest.raises(AttributeError, match=r"use llm.model_copy\(update=\{'temperature': ...\}"):
        llm.temperature = 1
    llm.tags = ["mine"]
    assert llm.tags == ["mine"]


@pytest.mark.parametrize("name", ["root_client", "client", "async_client", "http_client"])
def test_clients_are_not_reachable_beside_the_lease(name):
    """Reading one says where it is and what to do; whoever only asks gets a plain no."""
    llm = chat_model("openai:gpt-4o-mini")
    with pytest.raises(AttributeError, match=f"a handle has no {name}: .* call the model's own"):
        getattr(llm, name)
    assert getattr(llm, name, None) is None


@pytest.mark.parametrize("name", ["_client", "_async_client", "_client_params"])
def test_anthropic_s_clients_are_not_reachable_either(name):
    """Its cached properties would make clients of their own."""
    with pytest.raises(AttributeError, match=f"a handle has no {name}: "):
        getattr(chat_model("anthropic:claude-haiku-4-5"), name)


def test_a_field_that_is_configurable_at_run_time_makes_handles():
    """`configurable_fields` constructs the class anew; that is another configuration."""
    llm = chat_model("fake:a", api_key="mine").configurable_fields(
        temperature=ConfigurableField(id="heat"), fake_api_key=ConfigurableField(id="key")
    )
    assert llm.invoke("hello").content == "mine"
    configured = llm.with_config(configurable={"heat": 0.5})
    assert configured.invoke("hello").content == "mine"
    assert llm.with_config(configurable={"key": "other"}).invoke("hello").content == "other"
    assert llmkeep.stats().live == 3


def test_the_class_of_a_handle_makes_handles():
    """`type(llm)(...)` is `chat_model` for that provider."""
    made = type(chat_model("fake:a"))(model="b", tags=["mine"])  # type: ignore[call-arg]
    assert isinstance(made, ChatFake)
    assert made.tags == ["mine"]
    assert made.invoke("hello").content == "fake-key"
    assert llmkeep.stats().live == 2


# --- pickle ---------------------------------------------------------------------------------------


def test_a_pickled_handle_takes_its_key_where_it_arrives(monkeypatch):
    """Everything else arrives as it was."""
    llm = chat_model("fake:a", api_key="sender's", options={"x": [1]}, tags=["mine"])
    sent = pickle.dumps(llm)
    monkeypatch.setenv("FAKE_API_KEY", "receiver's")
    arrived: Any = pickle.loads(sent)
    assert (arrived.options, arrived.tags) == ({"x": [1]}, ["mine"])
    assert arrived.invoke("hello").content == "receiver's"
    assert type(arrived) is type(llm)


def test_a_pickled_handle_without_secrets_is_the_same_where_it_arrives():
    """In the same process it shares the instance."""
    arrived = pickle.loads(pickle.dumps(chat_model("fake:a", temperature=0.5)))
    assert arrived.invoke("hello").content == "fake-key"
    assert llmkeep.stats().live == 1


def test_what_cannot_travel_is_named_where_it_arrives(monkeypatch):
    """A key that the receiver's environment lacks, and what no environment can supply."""
    keyed = pickle.dumps(chat_model("fake:a", api_key="mine"))
    monkeypatch.delenv("FAKE_API_KEY")
    with pytest.raises(ModelConfigurationError, match="fake: fake_api_key did not travel"):
        pickle.loads(keyed)
    monkeypatch.setenv("FAKE_API_KEY", "key")
    with pytest.raises(ModelConfigurationError, match="default_headers, hook did not travel"):
        pickle.loads(pickle.dumps(chat_model("fake:a", hook=print, default_headers={"a": "b"})))


def test_an_address_with_a_password_does_not_turn_into_another_address():
    """Leaving it out silently would send the receiver's key to the provider's own endpoint."""
    sent = pickle.dumps(chat_model("openai:gpt-4o-mini", base_url="https://u:p@host.example/v1"))
    with pytest.raises(ModelConfigurationError, match="openai_api_base did not travel"):
        pickle.loads(sent)
