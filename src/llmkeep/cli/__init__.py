"""The `llmkeep` command; needs the extra `agents`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that the command line names."""
    try:
        from .app import app

        app()
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("llmkeep"):
            raise
        sys.exit(f'llmkeep: {missing.name} is not installed: pip install "llmkeep[agents]"')
