"""Titles: what a conversation is called before anybody names it. Pure.

The first words of the first message, without the marks of Markdown.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from llmkeep.service.records import UserMessage

#: Longer titles are cut: one line of a narrow list.
TITLE_CHARACTERS: Final = 60

#: Of a message, no more than this is looked at.
_LOOKED_AT: Final = 1000

_MARKDOWN: Final = MarkdownIt("commonmark")


def title_of(messages: Iterable[UserMessage]) -> str:
    """A title for a conversation that begins with these; empty where they say nothing."""
    said = next((each.content for each in messages if each.content.strip()), "")[:_LOOKED_AT]
    blocks = (" ".join(_text(token).split()) for token in _MARKDOWN.parse(said))
    text = next((block for block in blocks if block), "") or " ".join(said.split())
    if len(text) <= TITLE_CHARACTERS:
        return text
    cut = text[:TITLE_CHARACTERS]
    words, _, _ = cut.rpartition(" ")
    return f"{words if len(words) > TITLE_CHARACTERS // 2 else cut}…"


def _text(token: Token) -> str:
    """What a block says: its text without marks, or its code."""
    if token.children is None:
        return token.content if token.type in ("fence", "code_block") else ""
    breaks = ("softbreak", "hardbreak")
    shown = ("text", "code_inline", "image", "text_special")
    return "".join(
        " " if each.type in breaks else each.content
        for each in token.children
        if each.type in breaks or each.type in shown
    )
