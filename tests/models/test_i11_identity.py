"""Two configurations share an instance when they mean the same, and never otherwise."""

from __future__ import annotations

import copy
import enum
import os
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr

import llmkeep
from llmkeep.models import chat_model
from llmkeep.models.identity import structure
from tests.models.fakes import FakeClient


def built() -> int:
    return llmkeep.stats().builds


# --- values ---------------------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False)
    | st.text(max_size=3)
    | st.binary(max_size=3)
)
VALUES = st.recursive(
    SCALARS,
    lambda part: (
        st.lists(part, max_size=3)
        | st.lists(part, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=2), part, max_size=3)
    ),
    max_leaves=8,
)


def same_kind(one: Any, other: Any) -> bool:
    """Equality that also compares the types: `True` is not `1`, and 0.0 is not -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_kind(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same_kind, one, other))
    return repr(one) == repr(other)


@given(VALUES, VALUES)
def test_i11_structures_are_equal_exactly_when_values_are(one, other):
    """Plain data counts by value and by type, wherever it stands."""
    assert (structure(one) == structure(other)) is same_kind(one, other)
    assert structure(one) == structure(copy.deepcopy(one))


@given(st.dictionaries(st.text(max_size=3), VALUES, min_size=2))
def test_i11_the_order_of_a_mapping_does_not_count(mapping):
    """Parameters may be written in any order."""
    assert structure(mapping) == structure(dict(reversed(mapping.items())))


class Level(enum.StrEnum):
    LOW = "low"


@dataclass
class Point:
    x: int


class Shape(BaseModel):
    name: str


def test_i11_credentials_count_by_what_they_hold_and_objects_by_identity():
    """A `SecretStr` is its text and no `str`; callables and clients are themselves."""

    def one() -> str:
        return "key"

    def other() -> str:
        return "key"

    assert structure(SecretStr("a")) == structure(SecretStr("a"))
    assert structure(SecretStr("a")) != structure(SecretStr("b"))
    assert structure(SecretStr("a")) != structure("a")
    assert structure(one) == structure(one)
    assert structure(one) != structure(other)
    point = Point(1)
    assert structure(point.__repr__) == structure(point.__repr__)
    assert structure(Level.LOW) != structure("low")
    assert structure(Point(1)) == structure(Point(1)) != structure(Point(2))
    assert structure(Shape(name="a")) == structure(Shape(name="a")) != structure(Shape(name="b"))
    assert structure({1, 2}) == structure({2, 1}) != structure(frozenset({1}))


def test_i11_an_object_that_took_the_place_of_another_is_another():
    """An `id` that is used again after its object's end does not make two objects one."""
    written, ids = set(), set()
    for _ in range(50):
        thing = FakeClient("")
        FakeClient.made.clear()
        ids.add(id(thing))
        written.add(repr(structure(thing)))
        del thing
    assert len(written) == 50 > len(ids)


def test_a_parameter_that_contains_itself_is_refused():
    """With a sentence, not with a crash."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="contains itself"):
        structure(loop)


# --- configurations -------------------------------------------------------------------------------

MENU: dict[str, list[Any]] = {
    "temperature": [0, 0.0, 0.7, None],
    "max_tokens": [None, 10],
    "stop": [None, "x", ["x"]],
    "streaming": [False, True],
    "model_kwargs": [{}, {"user": "a"}, {"user": "b"}],
    "default_headers": [None, {"X-Tenant": "1"}, {"X-Tenant": "2"}],
    "api_key": ["sk-openai", SecretStr("sk-openai"), "sk-other"],
    "base_url": [None, "https://one.example/v1", "https://two.example/v1"],
    "organization": [None, "org-1"],
    "logit_bias": [None, {1: 2}],
    "timeout": [None, 5, 5.0, (1.0, 2.0)],
}
PARAMETERS = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) for name, values in MENU.items()}
)
CHANGES = st.dictionaries(st.sampled_from(sorted(MENU)), st.integers(0, 9), max_size=2)


def changed(parameters: dict[str, Any], changes: dict[str, int]) -> dict[str, Any]:
    """Nearly the same, in another order."""
    others = {name: MENU[name][number % len(MENU[name])] for name, number in changes.items()}
    return dict(reversed({**parameters, **others}.items()))


FIELDS = [
    name
    for name in ChatOpenAI.model_fields
    if "client" not in name and name not in ("metadata", "profile")
]


def meaning(parameters: dict[str, Any]) -> dict[str, Any]:
    """What the class itself makes of the parameters."""
    model = ChatOpenAI(model="gpt-4o-mini", **copy.deepcopy(parameters))
    return {name: getattr(model, name) for name in FIELDS}


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(PARAMETERS, CHANGES)
def test_i11_handles_share_exactly_when_the_class_makes_the_same_of_them(one, changes):
    """Defaults written out, other spellings and a key from the environment mean the same."""
    other = changed(one, changes)
    llmkeep.models.close()
    first, second = chat_model("gpt-4o-mini", **one), chat_model("openai:gpt-4o-mini", **other)
    alike = same_meaning(meaning(one), meaning(other))
    assert (built() == 1) is alike
    assert (first._get_llm_string() == second._get_llm_string()) is alike


def same_meaning(one: Any, other: Any) -> bool:
    if isinstance(one, SecretStr) and isinstance(other, SecretStr):
        return one.get_secret_value() == other.get_secret_value()
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_meaning(one[k], other[k]) for k in one)
    return same_kind(one, other)


@pytest.mark.parametrize(
    "spelling",
    [
        {"model": "openai:gpt-4o-mini", "temperature": 0.5, "max_tokens": 5},
        {"max_tokens": 5, "temperature": 0.5, "model": "gpt-4o-mini"},
        {"model": "gpt-4o-mini", "model_provider": "openai", "temperature": 0.5, "max_tokens": 5},
        {"model": "gpt-4o-mini", "temperature": 0.5, "max_completion_tokens": 5},
        {"model": "gpt-4o-mini", "temperature": 0.5, "max_tokens": 5, "api_key": "sk-openai"},
        {
            "model": "gpt-4o-mini",
            "temperature": 0.5,
            "max_tokens": 5,
            "openai_api_key": "sk-openai",
        },
        {"model": "gpt-4o-mini", "temperature": 0.5, "max_tokens": 5, "n": None, "seed": None},
        {
            "model": "gpt-4o-mini",
            "temperature": 0.5,
            "max_tokens": 5,
            "tags": ["a"],
            "verbose": True,
        },
    ],
)
def test_i11_every_spelling_of_a_configuration_is_one_instance(spelling):
    """Order, provider prefix, aliases, defaults, and where the key came from do not count."""
    chat_model("openai:gpt-4o-mini", temperature=0.5, max_tokens=5)
    chat_model(**spelling)
    assert built() == 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OPENAI_API_KEY", "sk-other"),
        ("OPENAI_API_BASE", "https://other.example/v1"),
        ("OPENAI_BASE_URL", "https://other.example/v1"),
        ("OPENAI_ORG_ID", "org-2"),
        ("OPENAI_PROJECT_ID", "project-2"),
        ("OPENAI_CUSTOM_HEADERS", "X-Tenant: 2"),
        ("OPENAI_PROXY", "http://proxy.example:1"),
        ("HTTPS_PROXY", "http://proxy.example:1"),
        ("NO_PROXY", "localhost"),
        ("LANGCHAIN_OPENAI_TCP_KEEPALIVE", "0"),
        ("LANGCHAIN_OPENAI_STREAM_CHUNK_TIMEOUT_S", "3"),
        ("LC_OUTPUT_VERSION", "v1"),
    ],
)
def test_i11_a_variable_of_the_table_makes_another_instance(variable, value, monkeypatch):
    """Whatever the class, its SDK or our transports read from the environment counts."""
    llm = chat_model("openai:gpt-4o-mini")
    before = llm._get_llm_string()
    monkeypatch.setenv(variable, value)
    chat_model("openai:gpt-4o-mini")
    assert built() == 2
    assert llm._get_llm_string() != before


def test_i11_an_explicit_key_is_not_changed_by_the_environment(monkeypatch):
    """A variable that an argument overrides makes no difference."""
    chat_model("openai:gpt-4o-mini", api_key="sk-mine")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    chat_model("openai:gpt-4o-mini", api_key="sk-mine")
    assert built() == 1


def test_i11_later_changes_to_what_was_passed_change_nothing():
    """The configuration has containers of its own, on the way in and on the way out."""
    options: dict[str, Any] = {"a": [1, {"b": 2}]}
    llm = chat_model("fake:a", options=options)
    options["a"][1]["b"] = 3
    options["c"] = 4
    llm.options["a"].append("shown only")  # type: ignore[attr-defined]
    assert chat_model("fake:a", options={"a": [1, {"b": 2}]}).options == {  # type: ignore[attr-defined]
        "a": [1, {"b": 2}]
    }
    assert built() == 1
    llm.invalidate()
    llm.invoke("hello")
    assert llm.model_copy(update={"temperature": 1}).options == {"a": [1, {"b": 2}]}  # type: ignore[attr-defined]


def test_i11_callables_count_by_identity_and_live_as_long_as_their_key():
    """A function that is gone from its caller still tells its instance from the next one's."""

    def make() -> Any:
        def hook() -> None:
            pass

        return hook

    hook = make()
    chat_model("fake:a", hook=hook)
    chat_model("fake:a", hook=hook)
    assert built() == 1
    for _ in range(20):
        chat_model("fake:a", hook=make())
    assert built() == 21
    assert len(FakeClient.made) == 21


def test_i11_a_client_that_a_caller_gives_is_part_of_the_configuration():
    """By identity; what a class makes for itself is not."""
    client = FakeClient("given")
    one, other = chat_model("fake:a", client=client), chat_model("fake:a", client=client)
    assert one.invoke("hello").content == other.invoke("hello").content == "given"
    assert chat_model("fake:a").invoke("hello").content == "fake-key"
    assert built() == 2


def test_i11_providers_do_not_meet():
    """The same class with the same fields under two providers is two instances."""
    chat_model("fake:a")
    chat_model("fake_loop:a")
    assert built() == 2
    assert os.environ["FAKE_API_KEY"] == "fake-key"
