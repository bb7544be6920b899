"""I11 in the core: specs that differ never share an instance, specs that mean the same do."""

from __future__ import annotations

import enum
import itertools
import types
from collections import OrderedDict, UserDict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkeep import ClientCache, Spec, freeze
from tests.core.conftest import MakeCache
from tests.core.tools import lease


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


@dataclass(frozen=True)
class Endpoint:
    host: str
    port: int = 443


class Text(str):
    __slots__ = ()


DISTINCT: list[Any] = [
    *(True, 1, 1.0, 1 + 0j, "1", b"1", Level.LOW, Decimal(1)),
    *(False, 0, 0.0, -0.0, "0", "", b"", None, "None"),
    *((), (None,), ("",), ("a", "b"), (("a",), "b"), ("a", ("b",)), ("a,b",), "('a', 'b')"),
    *(frozenset(), frozenset({1}), frozenset({True, "1"}), frozenset({("a", "b")})),
    *({}, {"a": 1}, {"a": True}, {"a": "1"}, {"a": None}, {"b": 1}, {"a": 1, "b": 1}),
    *({"a": [1]}, {"a": (1,)}, {"a": {1}}, {"a": {"1": 1}}, {"a": {1: 1}}, {"a": [[1]]}),
    *({"a": [1, 2]}, {"a": [2, 1]}, {1: "a"}, {True: "a"}, {"a": b"1"}, {"a": 1.0}),
    *(Colour.RED, Colour.BLUE, Endpoint("a"), Endpoint("a", 80), Text("1"), int, str),
    *("mapping", ("mapping",), ("str", "'1'"), "\ud800", "a\x00b"),
    *({"a": Colour.RED}, {"a": Endpoint("a")}, {Colour.RED: 1}, (Colour.RED,)),
]


def test_i11_what_differs_is_told_apart(make_cache: MakeCache) -> None:
    """By type and value, wherever it stands, type-tagged all the way down."""
    cache = make_cache(lambda spec: object(), close=None)
    clients = [lease(cache, spec) for spec in DISTINCT]

    for (one, first), (other, second) in itertools.combinations(
        zip(DISTINCT, clients, strict=True), 2
    ):
        assert first is not second, f"{one!r} and {other!r}"
    assert [lease(cache, spec) for spec in DISTINCT] == clients


SAME: list[tuple[Any, Any]] = [
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({"a": {"x": 1, "y": [1]}}, OrderedDict(a={"y": [1], "x": 1})),
    ({"a": 1}, UserDict(a=1)),
    ({"a": 1}, types.MappingProxyType({"a": 1})),
    ({"a": {3, 1, 2}}, {"a": {1, 2, 3}}),
    (frozenset("abc"), frozenset("cba")),
    (float("nan"), float("nan")),
    ({"a": 10**30}, {"a": 10**30}),
    (Endpoint("a"), Endpoint("a", 443)),
    ({"a": Endpoint("a"), "b": 1}, {"b": 1, "a": Endpoint("a", 443)}),
    ("text", "".join("text")),
]


@pytest.mark.parametrize(("one", "other"), SAME, ids=[str(n) for n in range(len(SAME))])
def test_i11_what_means_the_same_is_shared(make_cache: MakeCache, one: Any, other: Any) -> None:
    """The order of a mapping, the kind of mapping and who made the value are no difference."""
    cache = make_cache(lambda spec: object(), close=None)
    assert lease(cache, one) is lease(cache, other)
    assert cache.invalidate(other)
    assert not cache.invalidate(one)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, -0.0]) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=1), inner, max_size=2)
    ),
    max_leaves=5,
)


def tagged(value: Any) -> Any:
    """A plain value with the type of each part beside it, so that `==` is what I11 asks for."""
    if isinstance(value, dict):
        return ("dict", {name: tagged(each) for name, each in value.items()})
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, [tagged(each) for each in value])
    return (type(value).__name__, repr(value))


@settings(max_examples=300, deadline=None, database=None)
@given(st.dictionaries(st.text(), PLAIN, max_size=3), st.dictionaries(st.text(), PLAIN, max_size=3))
def test_i11_keys_are_equal_exactly_where_values_and_types_are(one: Any, other: Any) -> None:
    """For any two mappings of plain values."""
    assert (freeze(one).key == freeze(other).key) == (tagged(one) == tagged(other))
    assert freeze(one).key == freeze(dict(reversed(one.items()))).key


def test_i11_later_changes_to_a_mapping_change_nothing(make_cache: MakeCache) -> None:
    """Neither of the caller's own, nor of the one that the factory was called with."""
    seen: list[Any] = []

    def build(spec: Any) -> object:
        seen.append({"a": list(spec["a"])})
        spec["a"].append("changed by the factory")
        spec["b"] = 1
        return object()

    cache = make_cache(build, close=None)
    spec: dict[str, Any] = {"a": [1]}
    frozen = freeze(spec)
    spec["a"].append(2)

    first = lease(cache, frozen)
    cache.invalidate(frozen)
    second = lease(cache, frozen)
    assert lease(cache, {"a": [1]}) is second
    assert lease(cache, spec) not in (first, second)
    assert seen == [{"a": [1]}, {"a": [1]}, {"a": [1, 2]}]


def test_i11_the_factory_gets_the_spec_as_it_was_given(make_cache: MakeCache) -> None:
    """Mappings as dicts, everything else as the very value."""
    cache = make_cache(lambda spec: (spec,), close=None)
    for spec in ("text", 7, None, ("a", 1), Colour.RED, frozenset({1}), Endpoint("a")):
        assert lease(cache, spec) == (spec,)
        assert type(lease(cache, spec)[0]) is type(spec)
    assert lease(cache, types.MappingProxyType({"a": (1, {2})})) == ({"a": (1, {2})},)
    assert type(lease(cache, UserDict(z=1))[0]) is dict


def test_i11_a_sealed_spec_is_as_good_as_its_value(make_cache: MakeCache) -> None:
    """In one cache or several, for leasing, warming and invalidating."""
    caches = [make_cache(lambda spec: object(), close=None) for _ in range(2)]
    for value in ({"a": 1}, Endpoint("a"), "text"):
        frozen = freeze(value)
        assert isinstance(frozen, Spec)
        assert freeze(frozen) is frozen
        for cache in caches:
            cache.warm(frozen)
            assert lease(cache, value) is lease(cache, frozen)
            assert cache.stats().joined == 0
            assert cache.invalidate(frozen)
            assert not cache.invalidate(value)


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ([1], "spec is a list"),
        ({1, 2}, "spec is a set"),
        (bytearray(b"x"), "spec is a bytearray"),
        ({"a": {"b": [0, bytearray(b"sk-secret")]}}, r"spec\['a'\]\['b'\]\[1\] is a bytearray"),
        (("a", [1]), r"spec\[1\] is a list"),
        ({(1, 2): bytearray(b"sk-secret")}, r"spec\[\.\.\.\] is a bytearray"),
    ],
)
def test_i11_what_cannot_be_told_apart_is_refused_by_its_place(spec: Any, place: str) -> None:
    """The message says where, of what type, and what would do; it never shows a value."""
    cache: ClientCache[Any, Any] = ClientCache(lambda spec: None)
    for refuse in (lambda: cache.lease(spec), lambda: cache.warm(spec), lambda: freeze(spec)):
        with pytest.raises(TypeError, match=place) as raised:
            refuse()
        assert "hashable value, or a mapping of plain values" in str(raised.value)
        assert "sk-secret" not in str(raised.value)


def test_i11_a_spec_that_contains_itself_is_refused() -> None:
    """An error, and not a hang."""
    spec: dict[str, Any] = {}
    spec["myself"] = [spec]
    with pytest.raises(ValueError, match="contains itself"):
        freeze(spec)


def test_i11_what_a_specs_own_eq_raises_reaches_the_caller(make_cache: MakeCache) -> None:
    """Foreign code that fails, fails its caller, and leaves the cache as it was."""

    class Refuses:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

    cache = make_cache(lambda spec: object(), close=None)
    lease(cache, Refuses())
    with pytest.raises(ZeroDivisionError):
        lease(cache, Refuses())
    with pytest.raises(ZeroDivisionError):
        cache.invalidate(Refuses())
    assert cache.stats().idle == 1
