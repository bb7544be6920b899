"""Markdown for a terminal: what a model writes, block by block.

rich draws it. What is ours: nothing that was written is left out (HTML, addresses, single line
ends), nothing in it is a control sequence, and a text that is still arriving is parted into blocks
that are finished and the one that may still change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import CodeBlock, Heading, ListItem, Markdown, MarkdownElement
from rich.segment import Segment
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme
from typing_extensions import override

from .text import cleaned

# Without HTML, images and references: rich would leave them out, so they are shown as written.
_PARSER: Final = (
    MarkdownIt("commonmark", {"html": False})
    .enable(["table", "strikethrough"])
    .disable(["reference", "image"])
)


#: For the console: rich's own styles put some things on black, whatever the terminal's colours.
THEME: Final = Theme({"markdown.code": "cyan", "markdown.code_block": "cyan"})

#: What rich leaves out where nothing is in it.
_FILLED: Final = ("list_item_open", "blockquote_open")


def split(text: str) -> tuple[str, str]:
    """The blocks of `text` that no further text can change, and the rest.

    A block is finished when the next one has begun, in a line that is complete: the beginning of a
    line does not tell yet what it will be.
    """
    complete = text[: text.rfind("\n") + 1]
    starts = [token.map[0] for token in _PARSER.parse(complete) if token.level == 0 and token.map]
    if not starts or starts[-1] == 0:
        return "", text
    lines = complete.splitlines(keepends=True)
    at = sum(map(len, lines[: starts[-1]]))
    return text[:at], text[at:]


class _Heading(Heading):
    """A heading, at the left whatever its level."""

    LEVEL_ALIGN: ClassVar = {}


class _CodeBlock(CodeBlock):
    """Code on the terminal's own background."""

    @override
    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Syntax(
            str(self.text).rstrip("\n"),
            self.lexer_name,
            theme="ansi_dark",
            background_color="default",
            word_wrap=True,
            padding=(0, 2),
        )


class _Item(ListItem):
    """An item of a list; a number has its point."""

    @override
    def render_number(
        self, console: Console, options: ConsoleOptions, number: int, last_number: int
    ) -> RenderResult:
        width = len(str(last_number)) + 3
        inner = options.update(width=max(options.max_width - width, 1))
        style = console.get_style("markdown.item.number", default="none")
        begin = Segment(f"{number}. ".rjust(width), style)
        for line in console.render_lines(self.elements, inner, style=self.style):
            yield begin
            yield from line
            yield Segment.line()
            begin = Segment(" " * width, style)


class _Block(Markdown):
    """One block: a paragraph, a list, a table ..."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "list_item_open": _Item,
        "fence": _CodeBlock,
        "code_block": _CodeBlock,
    }

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__("", hyperlinks=False)
        self.parsed = tokens

    @override
    def _flatten_tokens(self, tokens: Iterable[Token]) -> Iterable[Token]:
        for token in super()._flatten_tokens(tokens):
            if token.markup == "autolink":
                continue  # its text is its address
            if token.type == "softbreak":
                token.type = "hardbreak"  # a line end is a line end: verses, addresses, lists
            token.content = cleaned(token.content)  # an entity may have been decoded
            yield token


@dataclass(frozen=True, slots=True)
class ChatMarkdown:
    """A text, or a part of one: an empty line is between its blocks, and before one that goes on.

    However a text is parted into pieces that `split` gives, they look as the whole does.
    """

    text: str
    goes_on: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        source = self.text.splitlines()
        goes_on = self.goes_on
        for tokens in _blocks(self.text):
            if goes_on:
                yield Segment.line()
            goes_on = True
            start, end = tokens[0].map or (0, len(source))
            plain = Text(cleaned("\n".join(source[start:end])))
            for line in _lines(console, options, tokens, plain):
                yield from line
                yield Segment.line()


def _lines(
    console: Console, options: ConsoleOptions, tokens: list[Token], plain: Text
) -> list[list[Segment]]:
    """A block as lines, without the empty ones that rich puts around some."""
    lines: list[list[Segment]] = []
    if _is_seen(tokens):  # not "42.", a list of one item with nothing in it
        with suppress(Exception):  # rather plain than not at all: it is somebody else's text
            lines = console.render_lines(_Block(tokens), options, pad=False)
    return _without_empty_ends(lines or console.render_lines(plain, options, pad=False))


def _without_empty_ends(lines: list[list[Segment]]) -> list[list[Segment]]:
    """The lines from the first to the last that has something in it."""
    filled = [at for at, line in enumerate(lines) if any(each.text.strip() for each in line)]
    return lines[filled[0] : filled[-1] + 1] if filled else []


def _blocks(text: str) -> Iterator[list[Token]]:
    tokens: list[Token] = []
    for token in _PARSER.parse(text):
        tokens.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield tokens
            tokens = []


def _is_seen(tokens: list[Token]) -> bool:
    """Whether every part of a block has something to show."""
    return all(
        token.content.strip() or token.type == "hr" for token in tokens if token.nesting == 0
    ) and not any(
        before.nesting == 1 and after.nesting == -1 and before.type in _FILLED
        for before, after in pairwise(tokens)
    )
