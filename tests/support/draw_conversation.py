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

from rich.console import Console
from rich.text import Text

from llmkeep.agents import ConversationHandler
from llmkeep.cli.screen import Screen
from llmkeep.settings import settings
from tests.support.standin import StandIn

PICTURE = Path(__file__).parents[2] / "docs" / "conversation.svg"
QUESTION = "What is 17 * 23, and is that prime?"
ANSWER = "17 × 23 is 391. It is not prime: those two are its factors."


async def draw(console: Console) -> None:
    """Hold one turn."""
    screen = Screen(console, console)
    screen.note("Talking with openai:gpt-5-mini (OPENAI_API_KEY is set).")
    screen.note("Ctrl-C stops an answer, Ctrl-D ends.")
    console.print(Text.assemble(("you> ", "bold"), QUESTION))
    handler = await ConversationHandler.create("reader", None)
    async with aclosing(handler.stream_response(QUESTION, "picture")) as events:
        async for event in events:
            screen.show(event)
    console.print(Text("you> ", "bold"))


def main() -> None:
    """Write the picture."""
    console = Console(record=True, width=78, force_terminal=True, highlight=False)
    with StandIn(tls=False) as standin:
        os.environ["OPENAI_API_KEY"] = "of-a-stand-in"
        settings.llm.base_url = standin.base_url("openai")
        settings.agents.conversation_handler_default_model = "openai:gpt-5-mini"
        standin.llm.call_tool("calculator", {"expression": "17 * 23"})
        standin.llm.reply(ANSWER)
        asyncio.run(draw(console))
    picture = console.export_svg(title="llmkeep chat")
    # The fonts that it would fetch are somebody else's; a reader's own monospace font will do.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    PICTURE.write_text(picture)


if __name__ == "__main__":
    main()
