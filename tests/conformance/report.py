"""The report: what every scenario came to on us and on the peers, as markdown and HTML, with plots.

It is made of kept figures alone; nothing is measured here.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from . import plots
from .figures import FOLDER
from .outcome import COLUMNS, Outcome
from .stage import Scenario, load_scenarios
from .summary import Column, broken_by_nobody, cell, summary

_INTRO: Final = """\
Every failure that bites people today, replayed on llmkeep and on what people use instead: real
sockets behind TLS, threads, event loops and processes, each scenario on each subject in a process
of its own, beside one upstream that counts what it receives. The upstream is llmock's, behind a
socket of ours. A cell that says *as it should be* means all zeros and ones: no call failed, each
request was received once, each client was built once, nothing was left open, left behind or
printed. Anything else is what was measured. Times are wall time on a busy machine of two cores, and
are no comparison of speed: `make bench` is.

Peers are used as their own documentation shows. Many are caches of values that never promised to
close what they keep, and a scenario that asks for it says what their users have to do themselves.
"""

_NOTES: Final = """\
- **Nested loops.** A loop on another thread inside a loop, and synchronous calls on a loop's
  thread, are replayed. Loops patched to be entered again (`nest_asyncio` and its like) are out.
- **Subinterpreters.** Not supported. Tried on CPython 3.13.0: in an isolated one leasing works, but
  daemon threads are refused there, so nobody keeps house; a legacy one aborts the process when it
  ends after leasing (`Py_EndInterpreter: not the last thread`), as it does for any daemon thread.
- **Streams at the interpreter's end.** Threads and loops that read then are replayed. A stream that
  the main thread left suspended is not: over the transports alone the interpreter may say that its
  socket was not closed, which is true; a `chat_model` names the lease that was out instead.
- **One run each.** Where it depends on the moment what happens, another run may come to something
  else: cachebox crashed at the interpreter's end in two of four runs.
- **gunicorn and Celery** run where they are installed; where not, `forked_children_ask` and
  `multiprocessing_fork` stand for them: both fork a parent that has opened connections.
- **litellm** closes what its cache evicted after a grace of 900 s, when the cache is used again;
  within a scenario that counts as not closed.
- **pydantic-ai** caches no client any more since version 2: one provider has one.
- **Broken by no peer.** With every peer, no more than warnings or threads left came of {unbroken}.
  Subjects broken by hand have shown that these can fail, too.

A peer is added with one file: `tests/conformance/subjects/NAME.py`, a `Subject` with what it can
do. `python -m tests.conformance --peers --subject NAME` measures it and keeps its figures here.
"""

#: The head of the table of `summary`.
_SUMMED: Final = ["subject", "as it should be", "but for warnings", "not", "the worst finding"]

_READING: Final = """\
*As it should be*: of how many scenarios in which the subject has a part. *But for warnings*: no
more was wrong than warnings printed or threads left. *The worst finding* goes by what hurts most: a
process that crashes or hangs, then failed calls, wrong answers, requests sent in vain, builds in
vain, clients and sockets left open. Each is found below under its scenario.
"""

_PICTURES: Final = {
    "grid.svg": "Every scenario on every subject: green as it should be, red not",
    "measures.svg": "Calls that fail, requests in vain, builds, clients never closed",
}


def write(ours: dict[str, Any], peers: dict[str, Any]) -> None:
    """Write report.md, report.html and the plots beside the figures."""
    columns = [
        Column(module, kept["name"], kept) for module, kept in (*ours.items(), *peers.items())
    ]
    FOLDER.mkdir(exist_ok=True)
    scenarios = list(load_scenarios().values())
    drawn = plots.draw(columns, scenarios, len(ours), FOLDER)
    markdown = "\n".join(_markdown(columns, scenarios, set(ours), drawn)) + "\n"
    (FOLDER / "report.md").write_text(markdown)
    (FOLDER / "report.html").write_text(_html(columns, scenarios, set(ours), drawn))


def groups(scenarios: Iterable[Scenario]) -> dict[str, list[Scenario]]:
    """The scenarios by what they are about."""
    found: dict[str, list[Scenario]] = {}
    for each in scenarios:
        found.setdefault(each.group, []).append(each)
    return found


def _subjects(columns: list[Column]) -> Iterator[list[str]]:
    for column in columns:
        kept = column.figures
        versions = ", ".join(f"{name} {text}" for name, text in kept["versions"].items())
        yield [
            column.name,
            kept["about"],
            versions or "standard library",
            f"{kept['date']}, CPython {kept['python']}, {kept['machine']}",
        ]


def _rows(columns: list[Column], scenario: Scenario) -> Iterator[tuple[Column, Outcome]]:
    for column in columns:
        outcome = column.outcome(scenario.name)
        if outcome is not None and outcome.applies:
            yield column, outcome


def _more(outcome: Outcome) -> str:
    said = {**outcome.errors, **outcome.printed}
    return "; ".join(f"{count} x {text}" for text, count in said.items())


def _table(header: list[str], rows: Iterable[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(text.replace('|', '/') for text in row)} |"
    yield ""


def _markdown(
    columns: list[Column], scenarios: list[Scenario], ours: set[str], drawn: list[str]
) -> Iterator[str]:
    yield "# Conformance\n"
    yield _INTRO
    yield "## What each subject came to\n"
    yield from _table(_SUMMED, summary(columns))
    yield _READING
    for plot in drawn:
        yield f"![{_PICTURES[plot]}]({plot})\n"
    yield "## Who was examined\n"
    yield from _table(["subject", "as", "versions", "measured"], _subjects(columns))
    yield "## What is counted\n"
    yield from (f"- `{name}`: {text}" for name, text in COLUMNS.items())
    yield ""
    for group, members in groups(scenarios).items():
        yield f"## {group}\n"
        for scenario in members:
            yield f"### {scenario.name}\n"
            yield f"{scenario.rule}\n"
            yield from _table(
                ["subject", "came to", "calls", "s", "errors and warnings"],
                (
                    [
                        f"**{column.name}**" if column.module in ours else column.name,
                        cell(outcome),
                        str(outcome.calls),
                        f"{outcome.seconds:.1f}",
                        _more(outcome),
                    ]
                    for column, outcome in _rows(columns, scenario)
                ),
            )
    yield "## Notes\n"
    yield _notes(columns, scenarios, ours)


def _notes(columns: list[Column], scenarios: list[Scenario], ours: set[str]) -> str:
    peers = [column for column in columns if column.module not in ours]
    unbroken = ", ".join(f"`{name}`" for name in broken_by_nobody(peers, scenarios))
    return _NOTES.format(unbroken=unbroken or "Nothing")


_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem;
  color: #1f2937; background: #fff; }
table { border-collapse: collapse; width: 100%; margin: 0 0 1.5rem; font-size: 13px; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #e5e7eb;
  vertical-align: top; }
td.good { color: #0f766e; } td.bad { color: #b42318; } td.more { color: #6b7280; }
tr.ours td:first-child { font-weight: 600; } img { max-width: 100%; }
h3 { margin-bottom: 0; } code { font-size: .92em; }
"""


def _html(
    columns: list[Column], scenarios: list[Scenario], ours: set[str], drawn: list[str]
) -> str:
    say = _inline
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Conformance</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{_STYLE}</style><h1>Conformance</h1>",
        *(f"<p>{say(text)}</p>" for text in _INTRO.split("\n\n")),
        "<h2>What each subject came to</h2>",
        _html_table(_SUMMED, summary(columns)),
        f"<p>{say(_READING)}</p>",
        *(f'<p><img src="{plot}" alt="{_PICTURES[plot]}"></p>' for plot in drawn),
        "<h2>Who was examined</h2>",
        _html_table(["subject", "as", "versions", "measured"], _subjects(columns)),
        "<h2>What is counted</h2><ul>",
    ]
    parts += [f"<li><code>{name}</code>: {say(text)}</li>" for name, text in COLUMNS.items()]
    parts.append("</ul>")
    for group, members in groups(scenarios).items():
        parts.append(f"<h2>{say(group)}</h2>")
        for scenario in members:
            parts.append(f"<h3><code>{scenario.name}</code></h3><p>{say(scenario.rule)}</p>")
            parts.append("<table><tr><th>subject<th>came to<th>calls<th>s<th>errors, warnings</tr>")
            for column, outcome in _rows(columns, scenario):
                kind = "bad" if outcome.faults() else "good"
                parts.append(
                    f"<tr{' class=ours' if column.module in ours else ''}>"
                    f"<td>{say(column.name)}</td><td class={kind}>{say(cell(outcome))}</td>"
                    f"<td>{outcome.calls}</td><td>{outcome.seconds:.1f}</td>"
                    f"<td class=more>{say(_more(outcome))}</td></tr>"
                )
            parts.append("</table>")
    notes = _notes(columns, scenarios, ours).split("\n- ")
    parts.append(
        "<h2>Notes</h2>" + "".join(f"<p>{say(each.removeprefix('- '))}</p>" for each in notes)
    )
    return "\n".join(parts) + "\n</html>\n"


def _html_table(header: list[str], rows: Iterable[list[str]]) -> str:
    lines = ["".join(f"<th>{text}" for text in header)]
    lines += ["".join(f"<td>{_inline(text)}" for text in row) for row in rows]
    return "<table><tr>" + "\n<tr>".join(lines) + "</table>"


def _inline(text: str) -> str:
    """Markdown's marks within a line as HTML."""
    text = re.sub("`([^`]*)`", r"<code>\1</code>", html.escape(text))
    text = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", text)
    return re.sub(r"\*([^*]+)\*", r"<em>\1</em>", text)
