"""What the command line says of a conversation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `llmkeep chat`."""

    model: str | None = None
    base_url: str | None = None
    session: str | None = None
    data_folder: Path | None = None
    once: bool = False
    as_json: bool = False
    yes: bool = False
