"""Older clients: what a cancelled run looks like to them, and that the numbers stay right."""

from __future__ import annotations

import pytest

from llmkeep.service.records import Frame
from llmkeep.service.runs import events as told
from llmkeep.service.runs.compat import translator
from tests.service.runs.fakes import failed
from tests.service.runs.following import event, types

STARTED = Frame(1, told.serialised(told.run_started("t", "r")))
CANCELLED = Frame(9, told.serialised(told.cancelled("t", "r")), is_terminal=True)


@pytest.mark.parametrize("version", ["1.0", "1", "1.2", "2.0.1", "10.0"])
def test_new_clients_get_the_truth(version: str):
    """There is nothing to translate."""
    assert translator(version) is None


@pytest.mark.parametrize("version", [None, "", "0.9", "0.0.59", "new", "1.x"])
def test_old_clients_learn_of_a_cancelled_run_before_its_end(version: str | None):
    """The end has no outcome; the event before it has no number of its own."""
    translate = translator(version)
    assert translate is not None

    first, custom, end = translate([STARTED, CANCELLED])

    assert first is STARTED
    assert event(custom)["name"] == "run_cancelled"
    assert types([end]) == ["RUN_FINISHED"]
    assert "outcome" not in event(end)
    assert (custom.number, end.number) == (8, 9)
    assert [each.is_terminal for each in (custom, end)] == [False, True]


def test_all_else_is_the_same_to_old_clients():
    """Frames are handed on as they are."""
    translate = translator(None)
    assert translate is not None
    error = Frame(3, told.serialised(failed()), is_terminal=True)

    for frames in ([], [STARTED], [STARTED, error]):
        assert translate(frames) is frames
