"""How many machine instructions a lease, a call of a handle and a turn of the agent take.

    python -m benchmarks.instructions                        of this working tree
    python -m benchmarks.instructions --before d76f127       beside an earlier commit
    python -m benchmarks.instructions core                   some: core, models, agents
    python -m benchmarks.instructions --before ... --publish and keep it in docs/benchmarks

Counted by valgrind's callgrind, so that the same tree gives the same figures within a few in a
thousand, whatever else the machine does: good for telling whether a change helps, and no measure of
time. Each subject (`counted`) runs `n` and `4 n` times in one process; the difference, divided by
`3 n`, is what one takes, without what surrounds the loop. The collector rests. A turn of the agent
is less exact, within three in a hundred on a loaded machine: threads that go by the clock wake
the more often, the longer it takes.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .counted import GROUPS
from .harness import Table

ROOT: Final = Path(__file__).resolve().parent.parent
PUBLISHED: Final = ROOT / "docs" / "benchmarks" / "instructions.md"
#: Seconds; valgrind makes everything some thirty times slower.
LIMIT: Final = 900

TITLES: Final = {
    "core": "A hot lease and its return",
    "models": "A call and a streamed chunk through a handle",
    "agents": "A turn of 20 streamed tokens",
}
#: What each of the others is held against: the first subject that begins with the first, and so on.
BESIDE: Final = {
    "async with": "an empty @asynccontextmanager block",
    "with": "an empty @contextmanager block",
    "handle": "model",
    "ConversationHandler": "by hand: create_agent, astream",
    "the model's": "by hand: create_agent, astream",
}

Counts = Mapping[str, float]


def counted(group: str, source: Path) -> dict[str, float]:
    """Instructions of each subject of a group, once, with the package that lies in `source`."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "callgrind.out"
        command = (
            *("valgrind", "--tool=callgrind", "--combine-dumps=yes", "--dump-before=ctermid"),
            *(f"--callgrind-out-file={out}", sys.executable, "-m", "benchmarks.counted", group),
        )
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(source)}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages are compiled, too
        run = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT
        )
        if run.returncode:
            raise RuntimeError(f"counting {group} failed: {run.stderr[-3000:]}")
        parts = _totals(out)
    subjects = [line.split(" ", 1) for line in run.stdout.splitlines()]
    # Up to the first mark, a run, up to the next mark, and so on.
    pairs = zip(parts[1::4], parts[3::4], strict=True)
    return {
        what: (many - few) / int(number)
        for (number, what), (few, many) in zip(subjects, pairs, strict=True)
    }


def _totals(out: Path) -> list[int]:
    with out.open(encoding="utf-8") as lines:
        totals = [int(line.split()[1]) for line in lines if line.startswith("totals: ")]
    return totals[:-1]  # without what came after the last mark


@contextmanager
def _source_of(commit: str) -> Iterator[Path]:
    """The package as it was at a commit."""
    archive = subprocess.run(
        ("git", "archive", commit, "src"), cwd=ROOT, capture_output=True, check=True
    )
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(folder, filter="data")
        yield Path(folder) / "src"


def _table(now: Counts, before: Counts) -> Table:
    columns = ["", *(["before"] if before else []), "now", *(["change"] if before else [])]
    rows = []
    for what, count in now.items():
        row = [what]
        if before:
            row.append(f"{before[what]:,.0f}")
        row.append(f"{count:,.0f}")
        if before:
            row.append(f"{count / before[what] - 1:+.1%}")
        rows.append([*row, *(_beside(what, counts) for counts in (before, now) if counts)])
    beside = ["beside its measure"] if not before else ["beside its measure, before", "now"]
    return Table([*columns, *beside], rows)


def _beside(what: str, counts: Counts) -> str:
    measure = _measure_of(what)
    if measure not in counts or measure == what:
        return ""
    more = counts[what] - counts[measure]
    return f"{counts[what] / counts[measure]:.2f} ({more:+,.0f})"


def _measure_of(what: str) -> str:
    """What a subject is held against."""
    if "handle" in what:
        return what.replace("handle", "model")
    for beginning, measure in BESIDE.items():
        if what.startswith(beginning):
            return measure
    return ""


def _commit() -> str:
    def git(*arguments: str) -> str:
        run = subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True)
        return run.stdout.strip()

    changed = " and what is not committed" if git("status", "--porcelain", "--", "src") else ""
    return f"{git('rev-parse', '--short', 'HEAD')}{changed}"


def _text(groups: list[str], before: str | None) -> str:
    then: dict[str, dict[str, float]] = {}
    if before is not None:
        with _source_of(before) as source:
            then = {group: counted(group, source) for group in groups}
    now = {group: counted(group, ROOT / "src") for group in groups}
    compared = f"{before} before, {_commit()} now" if before else _commit()
    valgrind = subprocess.run(("valgrind", "--version"), capture_output=True, text=True).stdout
    head = (
        f"Machine instructions for one of each, counted by {valgrind.strip()}'s callgrind with "
        f"{platform.python_implementation()} {platform.python_version()}; {compared}. "
        "`python -m benchmarks.instructions` counts again. `frozen` is a spec that was sealed "
        "with `llmkeep.freeze`; the model answers at once and does nothing else. In brackets: "
        "how many more than its measure, which is an empty block, the model itself, or a graph "
        "of `create_agent` read with `astream`."
    )
    tables = (f"## {TITLES[each]}\n\n{_table(now[each], then.get(each, {}))}" for each in groups)
    return "\n\n".join(["# Instructions", head, *tables])


def main() -> None:
    """Count what was asked for."""
    parser = argparse.ArgumentParser(prog="benchmarks.instructions", description="Count.")
    parser.add_argument("groups", nargs="*", metavar="group", help=", ".join(GROUPS))
    parser.add_argument("--before", metavar="COMMIT", help="count that commit's package as well")
    parser.add_argument("--publish", action="store_true", help=f"write {PUBLISHED.name}")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.groups if name not in GROUPS]
    if unknown:
        parser.error(f"no such group: {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    if arguments.publish and arguments.groups:
        parser.error("--publish is for all groups")
    if shutil.which("valgrind") is None:
        print("There is no valgrind on this machine: nothing is counted.")
        return
    text = _text(arguments.groups or list(GROUPS), arguments.before)
    print(text)
    if arguments.publish:
        PUBLISHED.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
