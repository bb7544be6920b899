"""What a conversation is called."""

from __future__ import annotations

import pytest

from llmkeep.service.records import UserMessage
from llmkeep.service.runs.titles import TITLE_CHARACTERS, title_of


@pytest.mark.parametrize(
    ("said", "title"),
    [
        ("What is\n a  keep?", "What is a keep?"),
        ("  ", ""),
        ("x" * 100, "x" * TITLE_CHARACTERS + "…"),
        ("one word after another " * 9, "one word after another one word after another one word…"),
        ("Show me **markdown** and `code`\nhere", "Show me markdown and code here"),
        ("# Heading\n\nand text", "Heading"),
        ("- first\n- second", "first"),
        ("```py\nprint(1)\n```", "print(1)"),
        ("![a cat](x) [sleeps](y) <b>here</b>", "a cat sleeps here"),
        ("<hr>", "<hr>"),
        ("2 * 3 * 4 is 24 \\* 1", "2 * 3 * 4 is 24 * 1"),
        ("为什么天空是蓝色的？", "为什么天空是蓝色的？"),
    ],
)
def test_the_first_words(said: str, title: str):
    """One line of what was said first, without marks, cut between words where it is long."""
    assert title_of([UserMessage("m0", " "), UserMessage("m1", said)]) == title


def test_no_message_no_title():
    """A retry gives none."""
    assert title_of([]) == ""
