"""Our own column of the conformance suite: all zeros and ones, in every run of the tests.

What starts interpreters and servers of its own is left to `python -m tests.conformance`, and so is
whatever one of our faces shows as well as another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import pytest

from tests.conformance.figures import FOLDER, PEERS, ours, peers, read
from tests.conformance.outcome import COLUMNS, Outcome, in_general
from tests.conformance.running import Runner
from tests.conformance.stage import load_scenarios
from tests.conformance.subject import load, names

#: What is replayed on every face; the rest on one of each kind.
ON_ALL = ("loops_in_turn", "streams_on_loops", "forked_children_ask")
#: What a face has no part in: a transport sends the key that its SDK client has.
NOT_OURS = {("key_is_rotated", "llmkeep_openai_sdk")}


class Replay:
    """Replays scenarios on one face; that face and its process are a class's own."""

    face: ClassVar[str]
    #: Over an SDK or model that is slow to import and does as its sibling does.
    sibling: ClassVar[bool] = False

    @pytest.fixture(scope="class")
    @classmethod
    def runner(cls) -> Iterator[Runner]:
        """An upstream and a process to fork from, for all scenarios of the face."""
        with Runner(cls.face) as running:
            yield running

    def test_ours_is_all_zeros_and_ones(self, runner: Runner, scenario: str) -> None:
        """Nothing fails, nothing is billed twice, built twice, left open or left behind."""
        outcome = runner.run(scenario)
        assert outcome.applies, outcome.reason
        assert not outcome.faults(), f"{outcome}\n{runner.said}"


class TestCache(Replay):
    """`ClientCache`."""

    face = "llmkeep_cache"


class TestTransports(Replay):
    """Our HTTP clients inside an SDK's."""

    face = "llmkeep_openai_sdk"


class TestConversations(Replay):
    """`ConversationHandler`."""

    face = "llmkeep_handlers"


class TestTransportsOfAnthropic(Replay):
    """The same inside the other SDK's."""

    face, sibling = "llmkeep_anthropic_sdk", True


class TestChatModel(Replay):
    """`chat_model`."""

    face, sibling = "llmkeep_openai", True


class TestChatModelOfAnthropic(Replay):
    """The same for the other provider."""

    face, sibling = "llmkeep_anthropic", True


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each class gets the scenarios that its face has a part in: no process starts in vain."""
    if issubclass(metafunc.cls or object, Replay):
        found = ON_ALL if metafunc.cls.sibling else _light(metafunc.cls.face)
        metafunc.parametrize("scenario", found)


def _light(face: str) -> list[str]:
    return [
        name
        for name, each in load_scenarios().items()
        if not each.heavy and load(face).lacks(each.needs) is None and (name, face) not in NOT_OURS
    ]


def test_peers_figures_are_kept_with_versions_and_date() -> None:
    """Each peer that has a file has kept figures, which say of what and from when they are."""
    kept = read(PEERS)
    assert set(kept) == set(peers())
    for name, figures in kept.items():
        assert figures["date"]
        assert set(figures["versions"]) == set(load(name).distributions)
        for outcome in figures["outcomes"].values():
            Outcome.of(outcome)


@pytest.mark.parametrize("name", sorted(each.name for each in FOLDER.iterdir()))
def test_nothing_published_names_a_machine(name: str) -> None:
    """Figures and report show no path, no address, no port and no process."""
    text = (FOLDER / name).read_text()
    found = re.search(
        r"\b0x[0-9a-f]{6,}|\b127\.0\.0\.1|site-packages|\.venv|localhost"
        r"|[:=]\d{4,5}\b(?!-)|[\s'\"(]/(?:home|root|tmp|usr|var|work)\b",
        re.sub(r"(?s)<image .*?/>|\bd=\"[^\"]*\"", "", text),  # an SVG's own paths
    )
    assert found is None, text[max(0, found.start() - 60) : found.end() + 20]


def test_particulars_are_left_out() -> None:
    """What differs from run to run or from machine to machine is not kept."""
    text = "ValueError: /tmp/a/b and 127.0.0.1:40675 <X at 0x7ff04b95>"
    assert in_general(text) == "ValueError: .. and .. .."


def test_every_subject_and_column_is_described() -> None:
    """A report without an explanation would be a claim."""
    for name in names():
        subject = load(name)
        assert subject.name
        assert subject.about
    assert set(COLUMNS) <= set(vars(Outcome()))
    assert all(each.rule for each in load_scenarios().values())
    assert ours()
