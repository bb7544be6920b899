"""The pytest plugin: what users ask for, and when in a test's life it happens.

A test asks by a fixture (`llmkeep_caches`, `llmkeep_no_leaks`, `llmkeep_loop_guard`), by the marker
`llmkeep_strict`, or for all tests by the setting `llmkeep_strict = true`. A test that does not is
run as if this were not there, and nothing is imported for it.

The checks are made in hooks, not in the fixtures: around all of a test's other fixtures, whatever
their order.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, NoReturn

import pytest

if TYPE_CHECKING:
    from .watching import LoopGuard, Watch

_NAME: Final = "llmkeep_strict"
_HELP: Final = (
    "every test has caches of its own, fails if it leaks a lease or a client, and if it uses a "
    "client on an event loop that did not open it"
)
_FIXTURES: Final = {
    "llmkeep_caches": "caches",
    "llmkeep_no_leaks": "leaks",
    "llmkeep_loop_guard": "loops",
}
_watch_key: Final = pytest.StashKey["Watch"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The setting, and the same on the command line."""
    parser.addini(_NAME, _HELP, type="bool", default=False)
    parser.getgroup("llmkeep").addoption(
        "--llmkeep-strict", action="store_true", default=None, dest=_NAME, help=_HELP
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marker."""
    config.addinivalue_line(
        "markers",
        f"{_NAME}(enabled=True, *, caches, leaks, loops): {_HELP}; each can be turned off, or on",
    )


# -- fixtures --------------------------------------------------------------------------------------


@pytest.fixture
def llmkeep_caches(request: pytest.FixtureRequest) -> None:
    """This test has caches of its own: it finds none but empty ones, and leaves nothing in them."""
    _watch_of(request, "llmkeep_caches")


@pytest.fixture
def llmkeep_no_leaks(request: pytest.FixtureRequest) -> None:
    """This test fails if it leaves a lease out or drops a client unclosed; has its own caches."""
    _watch_of(request, "llmkeep_no_leaks")


@pytest.fixture
def llmkeep_loop_guard(request: pytest.FixtureRequest) -> LoopGuard:
    """This test fails if it uses an HTTP client on an event loop that did not open it."""
    return _watch_of(request, "llmkeep_loop_guard").guard


def _watch_of(request: pytest.FixtureRequest, fixture: str) -> Watch:
    """The test's watch, which has begun before any fixture unless it is asked for too late."""
    watch = _current(request.session)
    if watch is None or not getattr(watch.wanted, _FIXTURES[fixture]):
        pytest.fail(
            f"{fixture}: ask for this fixture by an argument or by usefixtures, not by "
            "getfixturevalue: it must begin before the others",
            pytrace=False,
        )
    return watch


# -- the marker ------------------------------------------------------------------------------------


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A marker with an argument that does not exist would watch something else than is meant."""
    for item in items:
        for marker in item.iter_markers(_NAME):
            _check(marker, item.nodeid)


def _check(marker: pytest.Mark, where: str) -> None:
    allowed = ("enabled", *_FIXTURES.values())
    given = (*marker.args, *marker.kwargs.values())
    if (
        len(marker.args) > 1
        or not set(marker.kwargs) <= set(allowed[bool(marker.args) :])
        or not all(isinstance(value, bool) for value in given)
    ):
        raise pytest.UsageError(
            f"{where}: the marker {_NAME} takes True or False, and caches=, leaks=, loops= with "
            f"True or False, not {', '.join(_shown(marker))}"
        )


def _shown(marker: pytest.Mark) -> list[str]:
    named = (f"{name}={value!r}" for name, value in marker.kwargs.items())
    return [*map(repr, marker.args), *named]


# -- a test's life ---------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """With the setting: see where the clients are made that modules make when they are imported."""
    if not _is_strict(session.config):
        return (yield)
    from .watching import Wanted, Watch

    watch = Watch(Wanted(loops=True))
    watch.begin()
    try:
        return (yield)
    finally:
        watch.end()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """From before the first fixture until after the last."""
    wanted = _wanted(item)
    if not any(wanted.values()):
        return (yield)
    from .watching import Wanted, Watch

    watch = item.session.stash[_watch_key] = Watch(Wanted(**wanted))
    watch.begin()
    try:
        return (yield)
    finally:
        watch.end()
        del item.session.stash[_watch_key]


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """What a wider fixture makes is not the test's that happens to need it first."""
    watch = _current(request.session)
    if watch is None or fixturedef.scope == "function":
        return (yield)
    with watch.lasting():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """A misuse in a fixture fails the set-up."""
    return (yield from _told(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """A misuse fails the test."""
    return (yield from _told(item))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """When all of the test's fixtures are gone, nothing of it may be left."""
    try:
        return (yield from _told(item))
    finally:
        if (watch := _current(item.session)) is not None:
            # pytest holds what the fixtures returned until a moment later.
            getattr(item, "funcargs", {}).clear()
            if (leaks := watch.finish()) is not None:
                _fail(leaks)


def _told(item: pytest.Item) -> Generator[None, object, object]:
    """Run a phase; a misuse in it is what it failed by, whatever was made of that."""
    watch = _current(item.session)
    if watch is None:
        return (yield)
    misuses = watch.guard.misuses
    try:
        outcome = yield
    except (KeyboardInterrupt, SystemExit, pytest.exit.Exception):
        raise
    except BaseException as error:
        watch.failed = True
        # Some SDKs catch everything and stumble over it later: LangChain's `agenerate` does.
        if misuses and str(error) not in misuses:
            _fail_by(misuses)
        misuses.clear()
        raise
    if misuses:
        watch.failed = True
        _fail_by(misuses)
    return outcome


def _fail_by(misuses: list[str]) -> NoReturn:
    text = "\n".join(misuses)
    misuses.clear()
    _fail(text)


def _current(session: pytest.Session) -> Watch | None:
    """What watches the test that runs, if it asked for anything."""
    return session.stash.get(_watch_key, None)


def _fail(text: str) -> NoReturn:
    pytest.fail(text, pytrace=False)


# -- who asked for what ----------------------------------------------------------------------------


def _is_strict(config: pytest.Config) -> bool:
    return bool(config.getoption(_NAME) or config.getini(_NAME))


def _wanted(item: pytest.Item) -> dict[str, bool]:
    wanted = dict.fromkeys(_FIXTURES.values(), _is_strict(item.config))
    marker = item.get_closest_marker(_NAME)
    if marker is not None:
        enabled = marker.args[0] if marker.args else marker.kwargs.get("enabled", True)
        wanted = dict.fromkeys(wanted, enabled)
        wanted |= {name: marker.kwargs[name] for name in wanted if name in marker.kwargs}
    for fixture in getattr(item, "fixturenames", ()):
        if fixture in _FIXTURES:
            wanted[_FIXTURES[fixture]] = True
    return wanted
