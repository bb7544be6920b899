"""Draws `docs/conversation.svg`: a turn of the real handler and screen, on a scripted stand-in.

    python -m tests.support.draw_conversation

The model's words are scripted, everything else is what runs.
"""

from __future__ import annotations

import asyncio
import os
import re
from contextlib import aclosing
from pathlib import Path

from ag_ui.core import Event
from llmock.scenarios import Reply, ToolCall
from rich.console import Console
from rich.text import Text

from llmkeep.agents import ConversationHandler
from llmkeep.cli.commands import talking_with
from llmkeep.cli.live_screen import LiveScreen
from llmkeep.cli.markdown import THEME
from llmkeep.cli.pick import Pick
from llmkeep.cli.screen import PROMPT
from llmkeep.settings import settings
from tests.support.standin import StandIn

PICTURE = Path(__file__).parents[2] / "docs" / "conversation.svg"
MODEL = "openai:gpt-5-mini"
QUESTION = "What is 17 * 23, and is that prime?"
CALLS = [ToolCall("calculator", {"expression": each}) for each in ("17 * 23", "sqrt(391)")]
ANSWER = """17 × 23 is **391**. It is not prime:

- its factors are 17 and 23,
- and one of two factors is always at most the root, which is about `19.8`."""


async def draw(console: Console) -> None:
    """Hold one turn."""
    screen = LiveScreen(console)
    screen.note(talking_with(Pick(MODEL, reason="since OPENAI_API_KEY is set")))
    screen.note("Ctrl-C stops an answer, Ctrl-D ends, /help tells the rest.")
    console.print(Text.assemble((PROMPT, "bold"), QUESTION))
    handler = await ConversationHandler.create("reader", None)
    event: Event
    with screen.answering():
        async with aclosing(handler.stream_response(QUESTION, "picture")) as events:
            async for event in events:
                screen.show(event)
    console.print(Text(PROMPT, "bold"))


def main() -> None:
    """Write the picture."""
    # Not interactive: what is drawn again and again is no part of a picture.
    console = Console(
        record=True,
        width=78,
        force_terminal=True,
        force_interactive=False,
        highlight=False,
        theme=THEME,
    )
    with StandIn(tls=False) as standin:
        os.environ["OPENAI_API_KEY"] = "of-a-stand-in"
        settings.llm.base_url = standin.base_url("openai")
        settings.agents.conversation_handler_default_model = MODEL
        standin.llm.add(Reply(text=None, tool_calls=tuple(CALLS)))
        standin.llm.reply(ANSWER)
        asyncio.run(draw(console))
    picture = console.export_svg(title="llmkeep chat")
    # The fonts that it would fetch are somebody else's; a reader's own monospace font will do.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    PICTURE.write_text(picture)


if __name__ == "__main__":
    main()
