"""A stand-in provider for the terminal."""

from __future__ import annotations

from tests.agents.provider import llmock, standin

__all__ = ["llmock", "standin"]
