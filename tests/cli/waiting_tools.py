"""Tools of a test's own: one waits until a file is there."""

from __future__ import annotations

import asyncio
from pathlib import Path

from langchain_core.tools import tool


@tool
async def wait_for(path: str) -> str:
    """Wait until there is a file, and read it."""
    while not Path(path).exists():
        await asyncio.sleep(0.01)
    return Path(path).read_text()
