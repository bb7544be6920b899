"""A process that is killed in the middle of a turn: its application and its memory differ.

Both are files, written one after the other, so each may be ahead. Whatever the one and the other
had, the next turn is answered, and afterwards they agree.
"""

from __future__ import annotations

import sqlite3
from contextlib import aclosing, closing
from copy import deepcopy
from pathlib import Path

import pytest

from llmkeep.agents.answers import answer_to
from llmkeep.agents.history import sound
from llmkeep.agents.sqlite_memory import SqliteMemory
from tests.agents.application import Application, Row
from tests.support.scripted import Scripted
from tests.support.scripted_scene import First, Scene, answers_in_order
from tests.support.scripted_steps import noticed
from tests.support.scripted_talk import kept

Tree = tuple[dict[str, Row], str | None]


@pytest.mark.parametrize("first", ["fetch", "crunch"])
async def test_whatever_two_files_hold_the_next_turn_works_and_they_agree(
    first: First, wire: str, scripted: Scripted, tmp_path: Path
):
    """Every state of the memory during a turn, with the tree as it was then, and before."""
    left = await _left_by_kills(first, scripted, tmp_path / "memory.db")
    assert len(left) > 5
    for number, (database, trees) in enumerate(left.items()):
        for tree in trees:
            copy = tmp_path / f"{number}.db"
            copy.write_bytes(database)
            memory = SqliteMemory(copy)
            try:
                await _goes_on(first, scripted, memory, tree)
            except BaseException as error:
                error.add_note(f"state {number} of {len(left)}, and the tree {tree}")
                raise
            finally:
                await memory.aclose()


async def _left_by_kills(first: First, scripted: Scripted, path: Path) -> dict[bytes, list[Tree]]:
    """Every state of the file during a turn, with the first and the last tree beside it."""
    memory, scene = SqliteMemory(path), Scene(first, held=False)
    scripted.answers = scene.answer_to
    application = Application(scene.agent("u", memory))
    await kept(application.agent)  # which makes the file
    left: dict[bytes, list[Tree]] = {}
    before: list[Tree] = [({}, None)]
    turn = application.turn(["go"], None)
    with closing(sqlite3.connect(path)) as file:

        def look() -> None:
            tree = deepcopy((application.rows, application.head))
            if tree != before[-1]:
                before.append(tree)
            left.setdefault(file.serialize(), before[-2:])[1:] = [tree]

        with noticed(look):
            async with aclosing(application.agent.run(turn, "s")) as stream:
                async for event in stream:
                    application.fold(event)
    await memory.aclose()
    return left


async def _goes_on(first: First, scripted: Scripted, memory: SqliteMemory, tree: Tree) -> None:
    scene = Scene(first, held=False)
    scripted.reset()
    scripted.answers = scene.answer_to
    application = Application(scene.agent("u", memory))
    application.rows, application.head = deepcopy(tree)
    application._said, application.is_cut = len(application.rows), True
    heard = await application.say("next")
    assert heard.text == "fine"
    assert scene.begun == []  # nothing is executed again
    assert scripted.refused == []
    path, added = sound(
        application.path(application.head), lambda call: answer_to(call, "", "error")
    )
    assert added == []
    stored = await kept(application.agent)
    answers_in_order(stored)
    # The answers to the calls of one message may have come in any order.
    assert sorted((each.id or "", each.text) for each in stored) == sorted(
        (each.id or "", each.text) for each in path
    )
