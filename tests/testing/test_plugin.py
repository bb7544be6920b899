"""The plugin's life: asked for in three ways, nothing where it is not, everything put back."""

from __future__ import annotations

import subprocess
import sys

import httpx
import httpx2
import pytest

from llmkeep import Lease

pytest_plugins = ["pytester"]


def test_plugin_loads_the_core_alone():
    """Before a test asks: no HTTP library, no other layer, no asyncio."""
    program = (
        "import pytest, sys; before = {*sys.modules}; import llmkeep.testing.plugin; "
        "print(*sorted({*sys.modules} - before))"
    )
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "asyncio" not in loaded
    for name in loaded:
        package, *inner = name.split(".")
        assert package in sys.stdlib_module_names or (
            package == "llmkeep" and inner[:1] in ([], ["core"], ["testing"])
        ), name


def test_nothing_happens_to_a_test_that_did_not_ask(session):
    """Neither wrapped methods nor imports nor emptied caches."""
    outcome = session(
        """
        import sys
        import llmkeep

        cache = llmkeep.ClientCache(str.upper)
        cache.warm("a")

        def test_it():
            assert not {"httpx", "httpx2", "llmkeep.testing.watching"} & {*sys.modules}
            assert not hasattr(llmkeep.Lease.__enter__, "__wrapped__")
            assert cache.stats().idle == 1
            cache.close()
        """,
        apart=True,
    )

    outcome.assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("way", "options", "failing"),
    [
        ("", (), 0),
        ("", ("--llmkeep-strict",), 2),
        ("", ("-o", "llmkeep_strict=true"), 2),
        ("pytestmark = pytest.mark.llmkeep_strict", (), 2),
        ("pytestmark = pytest.mark.llmkeep_strict(leaks=True, loops=False)", (), 2),
        ("pytestmark = pytest.mark.llmkeep_strict(leaks=False)", ("--llmkeep-strict",), 0),
        ("pytestmark = pytest.mark.llmkeep_strict(False)", ("--llmkeep-strict",), 0),
        ("pytestmark = pytest.mark.llmkeep_strict(False, leaks=True)", (), 2),
        ("pytestmark = pytest.mark.usefixtures('llmkeep_no_leaks')", (), 2),
        ("pytestmark = pytest.mark.usefixtures('llmkeep_loop_guard', 'llmkeep_caches')", (), 0),
    ],
)
@pytest.mark.filterwarnings("ignore:a lease of cache .* was dropped:ResourceWarning")
def test_is_asked_for_by_setting_option_marker_or_fixture(way, options, failing, session):
    """The nearest marker wins over the setting; a fixture always counts."""
    outcome = session(
        f"""
        import llmkeep, pytest
        {way}
        cache = llmkeep.ClientCache(str.upper)

        def test_one():
            cache.lease("a").__enter__()

        def test_two():
            cache.lease("a").__enter__()
        """,
        "--strict-markers",
        "-W",
        "ignore::ResourceWarning",
        *options,
    )

    outcome.assert_outcomes(passed=2, errors=failing)


def test_everything_is_put_back(session):
    """After a session that wrapped, the classes have the methods that they came with."""
    kinds = [
        Lease,
        *(getattr(http, kind) for http in (httpx, httpx2) for kind in httpx_kinds),
    ]
    before = [dict(vars(kind)) for kind in kinds]

    session("def test_it(): pass", "--llmkeep-strict").assert_outcomes(passed=1)

    assert [dict(vars(kind)) for kind in kinds] == before


httpx_kinds = ("AsyncHTTPTransport", "HTTPTransport")


@pytest.mark.parametrize(
    "arguments",
    ["leak=False", "leaks='no'", "'leaks'", "None", "False, False", "True, enabled=True"],
)
def test_marker_with_wrong_arguments_says_which_there_are(session, arguments: str):
    """It would watch something else than is meant."""
    outcome = session(f"""
        import pytest

        @pytest.mark.llmkeep_strict({arguments})
        def test_it():
            pass
        """)

    assert outcome.ret == pytest.ExitCode.USAGE_ERROR
    outcome.stderr.fnmatch_lines(["*test_it*llmkeep_strict takes True or False, and caches=, *"])


@pytest.mark.parametrize("late", ["llmkeep_no_leaks", "llmkeep_loop_guard"])
def test_fixture_that_is_asked_for_too_late_beside_another_says_so(session, late: str):
    """Whatever else watches the test, this does not."""
    outcome = session(f"""
        def test_it(request, llmkeep_caches):
            request.getfixturevalue("{late}")
        """)

    outcome.assert_outcomes(failed=1)
    outcome.stdout.fnmatch_lines([f"*{late}: ask for this fixture by an argument*"])


def test_fixture_that_is_asked_for_too_late_says_so(session):
    """`getfixturevalue` comes when the test runs already."""
    outcome = session("""
        def test_it(request):
            request.getfixturevalue("llmkeep_no_leaks")
        """)

    outcome.assert_outcomes(failed=1)
    outcome.stdout.fnmatch_lines(["*ask for this fixture by an argument or by usefixtures*"])
