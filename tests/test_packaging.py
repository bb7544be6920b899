"""What is built and installed: the wheel's content, and that the bare core needs nothing."""

from __future__ import annotations

import subprocess
import sys
from email.parser import Parser
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent

#: As `make page` built it; git does not keep it.
PAGE = ROOT / "src" / "llmkeep" / "service" / "static"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    outcome = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert outcome.returncode == 0, outcome.stderr
    (built,) = folder.glob("llmkeep-*.whl")
    return built


def test_wheel_holds_the_package_and_its_types_only(wheel: Path) -> None:
    """The wheel has every module, the built page, py.typed and the licence, and no test."""
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())

    sources = {path.relative_to(ROOT / "src").as_posix() for path in (ROOT / "src").rglob("*.py")}
    page = {path.relative_to(ROOT / "src").as_posix() for path in PAGE.rglob("*") if path.is_file()}
    assert sources | page | {"llmkeep/py.typed"} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"llmkeep"}


def test_bare_install_requires_nothing(wheel: Path) -> None:
    """Every requirement belongs to an extra, and every extra of the documentation is there."""
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())

    requirements = metadata.get_all("Requires-Dist") or []
    extras = {
        "openai",
        "anthropic",
        "local",
        "langchain",
        "agents",
        "mcp",
        "serve",
        "tracing",
        "all",
        "testing",
    }
    assert not [line for line in requirements if "extra ==" not in line]
    assert set(metadata.get_all("Provides-Extra") or []) == extras


def test_core_of_the_wheel_runs_without_any_other_package(wheel: Path, tmp_path: Path) -> None:
    """Beside no site-packages at all, the core leases, and says which extra is missing."""
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import llmkeep\n"
        "with llmkeep.ClientCache(str.upper) as cache, cache.lease('kept') as client:\n"
        "    print(client)\n"
        "try:\n"
        "    llmkeep.chat_model('openai:gpt-5-mini')\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )

    outcome = subprocess.run(
        [sys.executable, "-I", "-S", "-W", "error", "-c", program],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert outcome.returncode == 0, outcome.stderr
    first, second = outcome.stdout.splitlines()
    assert first == "KEPT"
    assert 'pip install "llmkeep[' in second
