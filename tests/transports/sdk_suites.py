"""The SDKs' own tests of their HTTP clients: as they come, and with every client over ours.

`python -m tests.transports.sdk_suites [PACKAGE ...]`. The tests are those of the source archive of
the installed version, which pip fetches from the package registry into a temporary folder together
with what they need; nothing of them is kept here. Each file runs twice, and a test that passes as
it comes and not over ours is a fault of ours, unless `KNOWN` says why. httpx2 and httpcore2 ship no
tests.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROGRAM: Final = Path(__file__).with_name("sdk_program.py")


@dataclass(frozen=True)
class Suite:
    """Which tests of a package speak of its HTTP client, and how pytest is to run them."""

    package: str
    files: tuple[str, ...]
    plugins: tuple[str, ...] = ()


SUITES: Final = (
    Suite(
        "openai",
        (
            "tests/test_client.py",
            "tests/test_httpx*.py",
            "tests/test_tls_hostname.py",
            "tests/test_mtls_http_client.py",
            "tests/test_legacy_response.py",
            "tests/test_response.py",
            "tests/test_streaming.py",
            "tests/test_retry_after_overflow.py",
            "tests/lib/test_azure.py",
            "tests/lib/test_azure_redirects.py",
            "tests/lib/test_upload*.py",
        ),
    ),
    Suite(
        "anthropic",
        (
            "tests/test_client.py",
            "tests/test_response.py",
            "tests/test_streaming.py",
            "tests/test_middleware.py",
            "tests/test_header_case_sensitivity.py",
            "tests/test_prepare.py",
            "tests/lib/test_client_copy.py",
            "tests/lib/test_credentials.py",
            "tests/lib/test_refusal_fallback.py",
            "tests/lib/streaming/test_messages.py",
        ),
        (
            "tests._alias_httpx",
            "respx.plugin",
            "inline_snapshot.pytest_plugin",
            "http_snapshot._pytest_plugin",
            "time_machine",
        ),
    ),
    Suite(
        "httpx",
        (
            "tests/client/*.py",
            "tests/test_timeouts.py",
            "tests/test_api.py",
            "tests/test_config.py",
            "tests/test_exceptions.py",
        ),
    ),
)

#: What those tests import beside what is installed here.
EXTRAS: Final = (
    *("respx", "inline-snapshot", "dirty-equals", "time-machine", "http-snapshot", "chardet"),
    *("trio", "outcome", "sortedcontainers", "attrs", "sniffio", "executing", "asttokens"),
)

_POOL: Final = "reads the private pool of httpx's own transport; the sockets are counted here"
#: Tests that cannot pass over another transport than httpx's own, and why.
KNOWN: Final = {
    r"test_retrying_(timeout|status)_errors_doesnt_leak": _POOL,
    r"test_proxies\.py::.*": _POOL,
    r"\[trio.*\]$|.*-trio\]$": "asyncio and uvloop only: trio is refused with a sentence",
}


def outcomes(suite: Suite, folder: Path, side: str, extras: Path) -> dict[str, str]:
    """What became of each test of `suite`: passed, failed or skipped."""
    files = sorted(
        str(path.relative_to(folder)) for name in suite.files for path in folder.glob(name)
    )
    plugins = ("pytest_asyncio.plugin", "anyio.pytest_plugin", *suite.plugins)
    report = folder / f"{side}.xml"
    subprocess.run(
        (
            *(sys.executable, PROGRAM, side, extras, "-q", "--tb=no", "-p", "no:cacheprovider"),
            *(part for plugin in plugins for part in ("-p", plugin)),
            *("-o", "addopts=", "-o", "asyncio_default_fixture_loop_scope=session"),
            *("-o", "junit_family=xunit1", f"--junitxml={report}", *files),
        ),
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return {
        f"{case.get('file')}::{case.get('classname')}::{case.get('name')}": _outcome(case)
        for case in ET.parse(report).iter("testcase")
    }


def _outcome(case: ET.Element) -> str:
    kinds = {child.tag for child in case}
    if kinds & {"failure", "error"}:
        return "failed"
    return "skipped" if "skipped" in kinds else "passed"


def fetched(package: str, into: Path) -> Path:
    """The unpacked source archive of the installed version."""
    version = importlib.metadata.version(package)
    _pip("download", "--no-binary", package, "--no-deps", "--dest", into, f"{package}=={version}")
    (archive,) = into.glob(f"{package}-*.tar.gz")
    with tarfile.open(archive) as opened:
        opened.extractall(into, filter="data")
    return into / archive.name.removesuffix(".tar.gz")


def _pip(*arguments: str | Path) -> None:
    subprocess.run((sys.executable, "-m", "pip", "--quiet", *arguments), check=True)


def compare(suite: Suite, folder: Path, extras: Path) -> bool:
    """Run both sides and print how they differ; whether every difference has its reason."""
    theirs, ours = (outcomes(suite, folder, side, extras) for side in ("theirs", "ours"))
    for side, found in (("as it comes", theirs), ("over ours", ours)):
        counts = ", ".join(
            f"{sum(each == kind for each in found.values())} {kind}"
            for kind in ("passed", "failed", "skipped")
        )
        print(f"{suite.package} {importlib.metadata.version(suite.package)}, {side}: {counts}")
    worse = [
        name
        for name, outcome in theirs.items()
        if outcome == "passed" and ours.get(name) != "passed"
    ]
    reasons: dict[str, int] = {}
    unknown = []
    for name in worse:
        reason = next((why for known, why in KNOWN.items() if re.search(known, name)), None)
        if reason is None:
            unknown.append(name)
        else:
            reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in reasons.items():
        print(f"  {count} differ: {reason}")
    for name in unknown:
        print(f"  DIFFERS: {name}: {theirs[name]}, over ours {ours.get(name)}")
    return bool(theirs) and not unknown


def main() -> int:
    """Fetch, run and compare; 1 where something differs without a reason."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("package", nargs="*", help="by default all")
    chosen = parser.parse_args().package
    with tempfile.TemporaryDirectory() as temporary:
        extras = Path(temporary, "extras")
        _pip("install", "--no-deps", "--target", extras, *EXTRAS)
        good = [
            compare(suite, fetched(suite.package, Path(temporary)), extras)
            for suite in SUITES
            if not chosen or suite.package in chosen
        ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
