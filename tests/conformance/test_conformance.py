"""Our own column of the conformance suite: all zeros and ones, in every run of the tests.

What starts interpreters and servers of its own is left to `python -m tests.conformance`, and so is
whatever one of our faces shows as well as another.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conformance.figures import PEERS, ours, peers, read
from tests.conformance.outcome import COLUMNS, Outcome
from tests.conformance.running import Runner, modules_of
from tests.conformance.stage import load_scenarios
from tests.conformance.subject import load, names

#: What is replayed on every face; the rest on one of each kind.
ON_ALL = ("loops_in_turn", "streams_on_loops", "forked_children_ask")
FACES = ("llmkeep_cache", "llmkeep_openai_sdk", "llmkeep_handlers")
#: Faces over SDKs and models that are slow to import and do as their siblings do.
SIBLINGS = ("llmkeep_openai", "llmkeep_anthropic", "llmkeep_anthropic_sdk")
#: What a face has no part in: a transport sends the key that its SDK client has.
NOT_OURS = {("key_is_rotated", "llmkeep_openai_sdk")}


def _pairs() -> list[tuple[str, str]]:
    light = [name for name, each in load_scenarios().items() if not each.heavy]
    pairs = [(name, face) for name in light for face in FACES if _may_apply(name, face)]
    return pairs + [(name, face) for name in ON_ALL for face in SIBLINGS]


def _may_apply(scenario: str, face: str) -> bool:
    """Told by the group, so that no process is started in vain."""
    lacking = load(face).lacks(load_scenarios()[scenario].needs)
    return lacking is None and (scenario, face) not in NOT_OURS


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """One upstream and one process to fork from, for all scenarios."""
    with Runner(modules_of((*FACES, *SIBLINGS))) as running:
        yield running


@pytest.mark.parametrize(("scenario", "subject"), _pairs())
def test_ours_is_all_zeros_and_ones(runner: Runner, scenario: str, subject: str) -> None:
    """Nothing fails, nothing is billed twice, built twice, left open or left behind."""
    outcome = runner.run(scenario, subject)
    assert outcome.applies, outcome.reason
    assert not outcome.faults(), f"{outcome}\n{runner.said}"


def test_peers_figures_are_kept_with_versions_and_date() -> None:
    """Each peer that has a file has kept figures, which say of what and from when they are."""
    kept = read(PEERS)
    assert set(kept) == set(peers())
    for name, figures in kept.items():
        assert figures["date"]
        assert set(figures["versions"]) == set(load(name).distributions)
        for outcome in figures["outcomes"].values():
            Outcome.of(outcome)


def test_no_kept_figure_names_a_machine() -> None:
    """What is kept shows no path, no address and no port."""
    text = PEERS.read_text()
    assert "site-packages" not in text
    assert "127.0.0.1" not in text


def test_every_subject_and_column_is_described() -> None:
    """A report without an explanation would be a claim."""
    for name in names():
        subject = load(name)
        assert subject.name
        assert subject.about
    assert set(COLUMNS) <= set(vars(Outcome()))
    assert all(each.rule for each in load_scenarios().values())
    assert ours()
